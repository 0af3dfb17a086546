import { initTRPC, TRPCError } from '@trpc/server'
import { type AuthContext, createAuth, createServer, formatAuthError, silentLog, sqliteStorage, transformer } from '@trpc-login/server'
import { Agent, fetch } from 'undici'
import * as v from 'valibot'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import * as mini from 'zod/mini'
import { z as z3 } from 'zod/v3'
import { z as older } from 'zod-4.4'
import { temporaryDirectory } from '../support/process.ts'
import type { Answer } from '../support/server.ts'

const SECRET = 'hunter2 "quoted"\\'

/** As small as a Standard Schema may be, and as talkative. */
const homemade = {
  '~standard': {
    version: 1,
    vendor: 'homemade',
    validate: (value: unknown) => {
      const { who, list } = value as { who: string; list: unknown[] }
      const bad = list.findIndex((item) => typeof item !== 'number')
      return {
        issues: [
          { message: `a kind was wanted, got ${who}`, path: [{ key: 'who' }] },
          { message: `a number was wanted, got ${JSON.stringify(list[bad])}`, path: ['list', { key: bad }] },
        ],
      }
    },
  },
} as const

const schemas = {
  'zod 4.6': z.object({ who: z.enum(['a', 'b']), list: z.array(z.number()) }),
  'zod 4.4': older.object({ who: older.enum(['a', 'b']), list: older.array(older.number()) }),
  'zod/mini': mini.object({ who: mini.enum(['a', 'b']), list: mini.array(mini.number()) }),
  'zod 3': z3.object({ who: z3.enum(['a', 'b']), list: z3.array(z3.number()) }),
  valibot: v.object({ who: v.picklist(['a', 'b']), list: v.array(v.number()) }),
  "valibot's parser": v.parser(v.object({ who: v.picklist(['a', 'b']), list: v.array(v.number()) })),
  homemade: homemade as never,
}

async function startApp() {
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog })
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const server = await createServer({
    auth,
    port: 0,
    tls: { developmentDir: temporaryDirectory() },
    router: t.router({
      ...Object.fromEntries(
        Object.entries(schemas).map(([, schema], n) => [`p${n}`, t.procedure.input(schema as never).mutation(() => 'ok')]),
      ),
      strict: t.procedure.input(z3.strictObject({})).mutation(() => 'ok'),
      numbers: t.procedure.input(v.array(v.string())).mutation(() => 'ok'),
      throws: t.procedure
        .input((value) => {
          throw new Error(`who is ${(value as { who: string }).who}?`)
        })
        .mutation(() => 'ok'),
      says: t.procedure.mutation(() => {
        throw new TRPCError({ code: 'BAD_REQUEST', message: 'Choose 4242 or another', cause: new Error('for the log') })
      }),
    }),
  })
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } })
  onTestFinished(async () => {
    await dispatcher.destroy()
    await server.close()
  })
  /** By the direct path, or with a body of no stated length, which is tRPC's own to read. */
  return async (path: string, input: unknown, isDirect = true) => {
    const text = JSON.stringify(input)
    const body = isDirect ? text : new Blob([text]).stream()
    const headers = { 'content-type': 'application/json', accept: 'application/json' }
    const response = await fetch(`${server.url}/api/${path}`, { method: 'POST', body: body as never, headers, duplex: 'half', dispatcher })
    const answer = await response.text()
    return { status: response.status, text: answer, error: (JSON.parse(answer) as Answer).error }
  }
}

test.each([true, false])(
  'IN-4: whatever validated the input, the same issues say which fields were refused, and repeat no value (direct path: %s)',
  async (isDirect) => {
    const call = await startApp()
    for (const [n, name] of Object.keys(schemas).entries()) {
      const { status, text, error } = await call(`p${n}`, { who: SECRET, list: [1, 424242.5, SECRET] }, isDirect)
      expect([status, error?.data.reason], name).toEqual([400, 'invalid_input'])
      const expected = [
        { path: ['who'], message: expect.any(String) as string },
        { path: ['list', 2], message: expect.any(String) as string },
      ]
      expect(error?.data.issues, name).toEqual(expected)
      expect(text, name).not.toMatch(/hunter2|424242/)
      for (const { message } of error?.data.issues ?? []) expect(message.length, name).toBeGreaterThan(5)
    }
  },
)

test('IN-4: a validator that only throws is heard without the values, and an application that refuses says what it likes', async () => {
  const call = await startApp()
  expect((await call('throws', { who: SECRET })).error?.message).toBe('who is …?')
  expect((await call('says', { a: '4242' })).error?.message).toBe('Choose 4242 or another')
  const { error } = await call('strict', { x: 1, y: 2 })
  expect(error?.data.issues).toEqual([
    { path: ['x'], message: 'Unknown key' },
    { path: ['y'], message: 'Unknown key' },
  ])
})

test('IN-4: an input that breaks a rule ten thousand times is answered with a hundred issues, and less of them where fields are long', async () => {
  const call = await startApp()
  const many = await call(
    'numbers',
    Array.from({ length: 9000 }, () => 424242),
  )
  expect([many.status, many.error?.data.issues?.length, many.text.includes('424242')]).toEqual([400, 100, false])
  const long = await call('strict', Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`${n}`.padEnd(300, 'x'), 0])))
  expect(long.error?.data.issues?.length).toBeGreaterThan(10)
  expect(long.text.length).toBeLessThan(64 * 1024)
})

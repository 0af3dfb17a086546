import { type Attributes, createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import * as v from 'valibot'
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import * as mini from 'zod/mini'
import { z as z3 } from 'zod/v3'
import { z as older } from 'zod-4.4'

/** Two fields with one rule each, in the words of each library. */
const SCHEMAS = {
  'zod 4.6': () => z.object({ plan: z.enum(['free', 'pro']).default('free'), seats: z.number().optional() }),
  'zod 4.4': () => older.object({ plan: older.enum(['free', 'pro']).default('free'), seats: older.number().optional() }),
  'zod/mini': () => mini.object({ plan: mini._default(mini.enum(['free', 'pro']), 'free'), seats: mini.optional(mini.number()) }),
  'zod 3': () => z3.object({ plan: z3.enum(['free', 'pro']).default('free'), seats: z3.number().optional() }),
  valibot: () => v.object({ plan: v.optional(v.picklist(['free', 'pro']), 'free'), seats: v.optional(v.number()) }),
}

function openAuth(attributes: unknown) {
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog, attributes: attributes as never })
  onTestFinished(auth.close)
  return auth
}

test.each(Object.entries(SCHEMAS))(
  'attributes are checked by a schema of %s, and a refusal names each field without its value',
  async (_name, schema) => {
    const auth = openAuth(schema())
    const ada = await auth.users.create({ username: 'ada' })
    expect(ada.attributes).toEqual({ plan: 'free' })
    const given: Attributes = { plan: 'pro', seats: 3 }
    expect((await auth.users.update(ada.id, { attributes: given })).attributes).toEqual(given)
    const refused: unknown = await auth.users
      .update(ada.id, { attributes: { plan: 'hunter2', seats: '424242' } })
      .catch((error: unknown) => error)
    expect(refused).toMatchObject({
      reason: 'invalid_input',
      issues: [{ path: ['attributes', 'plan'] }, { path: ['attributes', 'seats'] }],
    })
    expect(JSON.stringify([refused, (refused as Error).message])).not.toMatch(/hunter2|424242/)
    expect((await auth.users.get(ada.id)).attributes).toEqual(given)
  },
)

test('a schema that must be waited for is refused at the start, and where it shows only later, before anything is written', async () => {
  const always = v.objectAsync({ plan: v.optional(v.string()) })
  expect(() => openAuth(always)).toThrow(
    'createAuth: attributes must be a Standard Schema v1, as zod and valibot make, that checks without waiting',
  )
  const sometimes = z.object({
    plan: z
      .string()
      .refine(async (plan) => plan !== 'gold')
      .optional(),
  })
  const auth = openAuth(sometimes)
  const ada = await auth.users.create({ username: 'ada' })
  await expect(auth.users.update(ada.id, { attributes: { plan: 'pro' } })).rejects.toThrow('attributes must be checked without waiting')
  await expect(auth.users.create({ username: 'bob', attributes: { plan: 'pro' } })).rejects.toThrow(
    'attributes must be checked without waiting',
  )
  expect([(await auth.users.get(ada.id)).attributes, await auth.users.findByUsername('bob')]).toEqual([{}, null])
})

test.each([{}, null, 'x', { '~standard': {} }, { '~standard': { version: 2, vendor: 'x', validate: () => ({ value: {} }) } }])(
  'what is no schema is refused by name (%j)',
  (attributes) => {
    expect(() => openAuth(attributes)).toThrow(/^createAuth: attributes must be a Standard Schema v1/)
  },
)

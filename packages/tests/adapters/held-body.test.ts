import { expect, test } from 'vitest'
import { type Behind, type BehindOptions, PLACES, startBehind } from '../support/behind.ts'
import type { RawRequest } from '../support/raw-http.ts'
import { HOUR, PASSWORD } from '../support/server.ts'

type Subject = Awaited<ReturnType<Behind['enter']>>

/** What may happen to a caller whose request has come but for its last byte. */
const ENDINGS: Readonly<Record<string, (app: Behind, subject: Subject) => unknown>> = {
  'logged out elsewhere': (app, { cookie }) => app.post('auth.logout', {}, { cookie }),
  revoked: ({ auth }, { id, sessionId }) => auth.sessions.revoke(id, sessionId),
  disabled: ({ auth }, { id }) => auth.users.disable(id),
  'role taken': ({ auth }, { id }) => auth.users.update(id, { roles: [] }),
  expired: ({ clock }) => clock.advance(2 * HOUR),
  'password reset': async ({ auth }, { id }) => {
    const { url } = await auth.users.startPasswordReset(id)
    await auth.users.resetPassword(url.split('token=')[1] ?? '', PASSWORD, null)
  },
  deleted: ({ auth }, { id }) => auth.users.delete(id),
}

const JSON_BODY = { 'content-type': 'application/json' }
const batch = (...paths: string[]) => `${paths.join(',')}?batch=1`
const inputs = (count: number) => JSON.stringify(Object.fromEntries(Array.from({ length: count }, (_, n) => [n, { n }])))

/** Requests of every kind before which a guard stands; all need the role, so that its loss is an ending too. */
const REQUESTS: Readonly<Record<string, RawRequest>> = {
  query: { target: 'readsAsEditor' },
  'query by POST': { method: 'POST', target: 'readsAsEditor', headers: JSON_BODY, body: '{}' },
  mutation: { method: 'POST', target: 'writesAsEditor', headers: JSON_BODY, body: '{}' },
  'mutation of unstated length': { method: 'POST', target: 'writesAsEditor', headers: JSON_BODY, body: '{}', chunked: true },
  'mutation that reads no input': { method: 'POST', target: 'writesUnread', headers: JSON_BODY, body: '{}' },
  multipart: {
    method: 'POST',
    target: 'writesAsEditor',
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
    body: '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n',
  },
  batch: { method: 'POST', target: batch('writesAsEditor', 'writesAsEditor'), headers: JSON_BODY, body: inputs(2) },
  // Its first call asks who is there before the body has come.
  'batch with a public call': { method: 'POST', target: batch('asksAtOnce', 'writesAsEditor'), headers: JSON_BODY, body: inputs(2) },
  'guard by hand': { method: 'POST', target: 'asks', headers: JSON_BODY, body: '{}' },
  'batch as a stream': {
    method: 'POST',
    target: batch('writesAsEditor', 'writesAsEditor'),
    headers: { ...JSON_BODY, 'trpc-accept': 'application/jsonl' },
    body: inputs(2),
  },
}
const NOT_OURS = new Set(['query by POST', 'multipart'])
// These two ask for no role.
const FOR_ANYBODY = new Set(['guard by hand', 'mutation that reads no input'])

/** An application whose context asks who is there as soon as a request begins. */
const EAGER: BehindOptions = {
  async context(_request, make) {
    const context = make()
    await context.auth.signedIn()
    return context
  },
}

test.each([
  ...PLACES.map((place) => [place, 'asks who is there', EAGER] as const),
  ...(['ours', 'standalone'] as const).map((place) => [place, 'asks nothing', {}] as const),
])('LO-4 %s, with a context that %s: a session that ends while the last byte is held back does nothing any more', async (...row) => {
  const [place, , options] = row
  await using app = await startBehind(place, options)
  const answers: Record<string, number> = {}
  let n = 0
  for (const [name, request] of Object.entries(REQUESTS)) {
    for (const [ending, end] of Object.entries(ENDINGS)) {
      if (ending === 'role taken' && FOR_ANYBODY.has(name)) continue
      const subject = await app.enter({ username: `user${(n += 1)}`, roles: ['editor'] })
      const held = await app.hold({ ...request, headers: { ...request.headers, cookie: subject.cookie } })
      await held.begun()
      await end(app, subject)
      const { status, reasons, body } = await held.finish()
      const answer = name === 'guard by hand' ? body : `${name}: ${status} ${reasons.join(' ')}`
      const refused = ending === 'role taken' ? /: (403|20[07]) forbidden/ : /: (401|20[07]) (session_ended|not_signed_in)|nobody/
      expect(answer, `${name}, ${ending}`).toMatch(NOT_OURS.has(name) && place.startsWith('ours') ? /: 4[01]5 / : refused)
      expect(app.acts, `${name}, ${ending}`).toEqual([])
      const kind = name === 'guard by hand' ? `${name}: ${status} nobody` : answer
      answers[kind] = (answers[kind] ?? 0) + 1
    }
  }
  console.log(place, answers)
})

test.each(['standalone', 'express', 'fetch'] as const)(
  'IN-1 %s: nobody who is not signed in is waited for with a long body',
  async (place) => {
    await using app = await startBehind(place)
    const { cookie } = await app.enter({ username: 'eve', roles: ['editor'] })
    const body = JSON.stringify('x'.repeat(70_000))
    for (const [name, value] of [
      ['no cookie', ''],
      ['an unknown cookie', `__Host-session=${'x'.repeat(43)}`],
    ] as const) {
      const held = await app.hold({ method: 'POST', target: 'writesAsEditor', headers: { ...JSON_BODY, cookie: value }, body })
      expect([name, (await held.answer).reasons]).toEqual([name, ['not_signed_in']])
    }
    const long = await app.call({ method: 'POST', target: 'writesAsEditor', headers: { ...JSON_BODY, cookie }, body })
    expect([long.status, app.acts]).toEqual([200, ['writesAsEditor']])
  },
)

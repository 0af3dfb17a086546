import type { Storage } from '@trpc-login/server'
import { describe, expect, test } from 'vitest'
import { ANY, entry, hash, identity, LIMITS, type Open, RACERS, session, user } from './records.ts'

type Entry = NonNullable<Parameters<Storage['users']['create']>[1]>
type Authority = NonNullable<Entry['authority']>

const NOW = 2000
const RIGHT: Authority = { userId: 'a1', sessionId: 'sa', role: 'admin', provedAfter: 500, now: NOW }

/** All that is written on somebody's word. */
const ACTS: Readonly<Record<string, (storage: Storage, by: Entry) => Promise<unknown>>> = {
  'users.create': ({ users }, by) => users.create(user({ id: 'u9', usernameKey: 'new' }), by),
  'users.update': ({ users }, by) => users.update('u1', { roles: ['admin'] }, by),
  'users.setPassword': ({ users }, by) => users.setPassword('u1', { epoch: 0, passwordHash: 'h2', now: NOW, keep: null }, by),
  'users.setDisabledAt': ({ users }, by) => users.setDisabledAt('u1', NOW, NOW, by),
  'users.setDisabledAt null': ({ users }, by) => users.setDisabledAt('u1', null, NOW, by),
  'users.delete': ({ users }, by) => users.delete('u1', by),
  'users.startReset': ({ users }, by) => users.startReset({ tokenHash: hash('reset'), userId: 'u1', expiresAt: 9000 }, by),
  'sessions.end': ({ sessions }, by) => sessions.end('s1', 'u1', NOW, by),
  'sessions.endAll': ({ sessions }, by) => sessions.endAll('u1', null, NOW, by),
  'identities.unlink': ({ identities }, by) => identities.unlink('i1', 'u1', by),
}

/** How an authority ceases to hold: by what happened meanwhile, or by what it says itself. */
const LOSSES: Readonly<Record<string, (storage: Storage) => Promise<unknown>>> = {
  'its session has ended': ({ sessions }) => sessions.end('sa', 'a1', NOW),
  'its session has expired': async () => ({ now: 5000 }),
  'its session is another’s': async () => ({ sessionId: 's1' }),
  'its session does not exist': async () => ({ sessionId: 'nowhere' }),
  'its role was taken': ({ users }) => users.update('a1', { roles: ['administrator'] }),
  'its user is disabled': ({ users }) => users.setDisabledAt('a1', NOW, NOW),
  'its user is gone': ({ users }) => users.delete('a1'),
  'its password was changed': ({ users }) => users.setPassword('a1', { epoch: 0, passwordHash: 'h', now: NOW, keep: null }),
  'its secret was proved too long ago': async () => ({ provedAfter: 1000 }),
}

/** Two administrators, of whom one acts, and a user to whom it is done. */
async function populate(storage: Storage): Promise<void> {
  for (const id of ['a1', 'a2']) await storage.users.create(user({ id, usernameKey: id, roles: ['admin'] }))
  await storage.users.create(user())
  await storage.sessions.start(session({ id: 'sa', userId: 'a1' }), LIMITS)
  await storage.sessions.start(session({ id: 'sb', userId: 'a2' }), LIMITS)
  await storage.sessions.start(session(), LIMITS)
  await storage.identities.link(identity(), { sessionId: 's1', now: NOW }, entry('link'))
}

async function everything(storage: Storage) {
  return {
    users: await storage.users.list({ search: null, limit: 100, after: null }),
    sessions: await storage.sessions.findByIds(['sa', 'sb', 's1']),
    reset: await storage.users.findReset(hash('reset'), NOW),
    audit: await storage.audit.list(ANY),
  }
}

export function authorityTests(open: Open): void {
  describe('LO-4 C0.9: an act holds only while the session that it is done with holds', () => {
    test('acts of who may are done, and leave their entry, without what it was judged by', async () => {
      for (const [name, act] of Object.entries(ACTS)) {
        await using storage = await open()
        await populate(storage)
        expect(await act(storage, { ...entry('e1', { id: 'zz' }), authority: RIGHT }), name).toBeTruthy()
        const [written] = await storage.audit.list(ANY)
        expect([name, written]).toEqual([name, { ...entry('zz'), ...(name === 'users.delete' ? { address: null } : {}) }])
      }
    })

    for (const [loss, lose] of Object.entries(LOSSES)) {
      test(`nothing is done any more where ${loss}`, async () => {
        await using storage = await open()
        await populate(storage)
        const lost = await lose(storage)
        const authority = { ...RIGHT, ...(typeof lost === 'object' && lost !== null && !('id' in lost) ? lost : {}) }
        const before = await everything(storage)
        for (const [name, act] of Object.entries(ACTS)) {
          expect([name, await act(storage, { ...entry('e1'), authority })]).toEqual([name, 'refused'])
        }
        expect(await everything(storage)).toEqual(before)
      })
    }

    test('of two administrators that demote each other at once, 20 times, exactly one wins', async () => {
      await using storage = await open()
      await populate(storage)
      const demote = (index: number) => {
        const [actor, other, sessionId] = index % 2 === 0 ? (['a1', 'a2', 'sa'] as const) : (['a2', 'a1', 'sb'] as const)
        const authority = { ...RIGHT, userId: actor, sessionId }
        return storage.users.update(other, { roles: [] }, { ...entry(`e${index}`, { actorId: actor }), authority })
      }
      const answers = await Promise.all(Array.from({ length: RACERS }, (_, index) => demote(index)))
      const done = answers.map((answer) => (typeof answer === 'object' && answer !== null ? 'done' : answer))
      const winner = done[0] === 'done' ? 0 : 1
      expect(done).toEqual(answers.map((_, index) => (index % 2 === winner ? 'done' : 'refused')))
      const admins = (await storage.users.list({ search: null, limit: 100, after: null })).filter(({ roles }) => roles.includes('admin'))
      expect(admins.map(({ id }) => id)).toEqual([winner === 0 ? 'a1' : 'a2'])
    })

    test('of 20 that give back to themselves what is taken at once, none has it in the end', async () => {
      await using storage = await open()
      await populate(storage)
      const give = (index: number) =>
        index === 7
          ? storage.users.update('a1', { roles: [] }, { ...entry('take'), authority: { ...RIGHT, userId: 'a2', sessionId: 'sb' } })
          : storage.users.update('a1', { roles: ['admin', `r${index}`] }, { ...entry(`e${index}`), authority: RIGHT })
      await Promise.all(Array.from({ length: RACERS }, (_, index) => give(index)))
      expect((await storage.users.findById('a1'))?.roles).toEqual([])
    })

    test('of 20 acts and the end of their session at once, none is done after the end was told', async () => {
      await using storage = await open()
      await populate(storage)
      const order: string[] = []
      const act = async (index: number) => {
        const answer =
          index === 10
            ? await storage.sessions.end('sa', 'a1', NOW)
            : await storage.users.update('u1', { name: `n${index}` }, { ...entry(`e${index}`), authority: RIGHT })
        order.push(index === 10 ? 'ended' : answer === 'refused' ? 'refused' : 'done')
      }
      await Promise.all(Array.from({ length: RACERS }, (_, index) => act(index)))
      expect(await storage.users.update('u1', { name: 'late' }, { ...entry('late'), authority: RIGHT })).toBe('refused')
      expect((await storage.audit.list(ANY)).filter(({ id }) => id.startsWith('e'))).toHaveLength(
        order.filter((word) => word === 'done').length,
      )
    })
  })

  test('ST-1: a session begins together with its account, or neither is there', async () => {
    await using storage = await open()
    const eve = user({ id: 'u9', usernameKey: 'eve' })
    const begin = (index: number) =>
      storage.sessions.start(session({ id: `n${index}`, userId: 'u9' }), {
        ...LIMITS,
        entry: entry(`s${index}`),
        newUser: { user: eve, entry: entry(`u${index}`) },
      })
    const answers = await Promise.all(Array.from({ length: RACERS }, (_, index) => begin(index)))
    expect(answers.filter(Boolean)).toHaveLength(1)
    const [first] = await storage.sessions.findByIds([`n${answers.indexOf(true)}`])
    expect(first).toMatchObject({ user: { ...eve, lastLoginAt: 1000 }, session: { userId: 'u9' } })
    expect(await storage.audit.list(ANY)).toHaveLength(2)
  })

  test('a session that has expired gets no new token, and keeps no password', async () => {
    await using storage = await open()
    await storage.users.create(user())
    await storage.sessions.start(session(), LIMITS)
    expect(await storage.sessions.rotate('s1', { from: hash('s1'), to: hash('s2'), authenticatedAt: 5000 }, entry('e1'))).toBe(false)
    const keep = { sessionId: 's1', from: hash('s1'), to: hash('s2') }
    expect(await storage.users.setPassword('u1', { epoch: 0, passwordHash: 'h2', now: 5000, keep }, entry('e2'))).toBe(false)
    expect(await storage.audit.list(ANY)).toEqual([])
    expect(await storage.sessions.rotate('s1', { from: hash('s1'), to: hash('s2'), authenticatedAt: 4999 }, entry('e3'))).toBe(true)
    expect(await storage.audit.list(ANY)).toEqual([entry('e3')])
  })
}

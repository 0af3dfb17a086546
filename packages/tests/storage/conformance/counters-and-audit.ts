import { expect, test } from 'vitest'
import { ANY, entry, idAt, LIMITS, type Open, RACERS, session, user, winners } from './records.ts'

export function counterAndAuditTests(open: Open): void {
  test('entries are counted by whole spans of time', async () => {
    await using storage = await open()
    for (const at of [100, 109, 110, 125, 99]) await storage.audit.append(entry(idAt(at), { at }))
    await storage.audit.append(entry(idAt(101), { at: 101, type: 'other' }))
    expect(await storage.audit.count('t', 100, 10)).toEqual(
      new Map([
        [0, 2],
        [1, 1],
        [2, 1],
      ]),
    )
  })

  test('AU-3: an entry is written with its change and not without, listed newest first, and loses a deleted user’s addresses', async () => {
    await using storage = await open()
    await storage.users.create(user(), entry('a1'))
    await storage.users.create(user(), entry('a2'))
    await storage.users.update('u9', {}, entry('a3'))
    await storage.users.update('u1', { name: 'N' }, entry('a4', { actorId: 'boss' }))
    await storage.sessions.start(session(), { ...LIMITS, entry: entry('a5', { type: 'login' }) })
    await storage.sessions.end('s1', 'u1', 2000, entry('a6'))
    await storage.sessions.end('s1', 'u1', 2000, entry('a7'))
    await storage.sessions.endAll('u1', null, 2000, entry('a8'))
    await storage.audit.append(entry('a9', { actorId: null, subjectId: null }))
    const ids = async (filter = {}) =>
      (await storage.audit.list({ userId: null, type: null, limit: 10, before: null, ...filter })).map(({ id }) => id)
    expect(await ids()).toEqual(['a9', 'a6', 'a5', 'a4', 'a1'])
    expect(await ids({ userId: 'boss' })).toEqual(['a4'])
    expect(await ids({ type: 'login' })).toEqual(['a5'])
    expect(await ids({ limit: 2, before: 'a6' })).toEqual(['a5', 'a4'])
    await storage.users.delete('u1', entry('b0', { actorId: 'boss' }))
    const addresses = (await storage.audit.list({ userId: null, type: null, limit: 10, before: null })).map(({ id, address }) => [
      id,
      address,
    ])
    expect(new Map(addresses as [string, string | null][])).toEqual(
      new Map([
        ['b0', '::1'],
        ['a9', '::1'],
        ['a6', null],
        ['a5', null],
        ['a4', '::1'],
        ['a1', null],
      ]),
    )
  })

  test('AU-3: entries are removed by their age, the oldest first', async () => {
    await using storage = await open()
    for (const at of [7, 5, 6, 8]) await storage.audit.append(entry(idAt(at), { at }))
    expect(await storage.audit.purge(5, 10)).toBe(0)
    expect(await storage.audit.purge(8, 2)).toBe(2)
    expect((await storage.audit.list(ANY)).map(({ at }) => at)).toEqual([8, 7])
    expect(await storage.audit.purge(9, 10)).toBe(2)
  })

  test('AU-3: pages of what names a user hold each entry once, whether it names them as actor, as subject or as both', async () => {
    await using storage = await open()
    const ids = ['actor', 'subject', 'both', 'neither'].flatMap((how, kind) =>
      Array.from({ length: 5 }, (_, index) => ({ how, id: `e${String(index * 4 + kind).padStart(2, '0')}` })),
    )
    for (const { how, id } of ids) {
      const actorId = how === 'subject' || how === 'neither' ? 'u2' : 'u1'
      const subjectId = how === 'actor' || how === 'neither' ? null : 'u1'
      await storage.audit.append(entry(id, { actorId, subjectId, type: how === 'both' ? 'both' : 't' }))
    }
    const pages = async (filter: { type: string | null }) => {
      const found: string[] = []
      for (let page = ['']; page.length > 0; found.push(...page)) {
        const before = found.at(-1) ?? null
        page = (await storage.audit.list({ userId: 'u1', limit: 4, before, ...filter })).map(({ id }) => id)
        expect(page.length).toBeLessThanOrEqual(4)
      }
      return found
    }
    const named = (filter: string[]) =>
      ids
        .filter(({ how }) => filter.includes(how))
        .map(({ id }) => id)
        .toSorted()
        .toReversed()
    expect(await pages({ type: null })).toEqual(named(['actor', 'subject', 'both']))
    expect(await pages({ type: 'both' })).toEqual(named(['both']))
    expect(await pages({ type: 't' })).toEqual(named(['actor', 'subject']))
  })

  test('AU-6: nothing in the log names a user who was deleted, but by id', async () => {
    await using storage = await open()
    await storage.users.create(user({ email: 'ada@example.com' }), entry('a1', { detail: { username: 'Ada', roles: ['editor'] } }))
    const changed = {
      before: { name: 'Augusta', roles: [] },
      after: { name: 'Ada Lovelace ❤', email: 'old@example.com', roles: ['editor'] },
    }
    await storage.audit.append(entry('a2', { actorId: 'boss', detail: changed }))
    await storage.audit.append(
      entry('a3', { subjectId: 'u2', detail: { before: { name: 'Bob' }, told: ['ada@example.com', 'x'], by: 'Ada' } }),
    )
    for (let index = 0; index < 450; index += 1) {
      await storage.audit.append(
        entry(`b${1000 + index}`, { detail: { sessionId: 's1', ...(index % 200 === 199 ? { name: 'Augusta' } : {}) } }),
      )
    }
    expect(await storage.users.delete('u1', entry('c1', { detail: {} }))).toBe(true)
    const left = await storage.audit.list({ ...ANY, limit: 1000 })
    expect(JSON.stringify(left)).not.toMatch(/Ada|ada|Augusta|example\.com/)
    const details = new Map(left.map(({ id, detail }) => [id, detail]))
    expect(details.get('a1')).toEqual({ roles: ['editor'] })
    expect(details.get('a2')).toEqual({ before: { roles: [] }, after: { roles: ['editor'] } })
    expect(details.get('a3')).toEqual({ before: { name: 'Bob' }, told: ['x'] })
    expect(details.get('b1199')).toEqual({ sessionId: 's1' })
    expect(left.filter(({ address }) => address !== null).map(({ id }) => id)).toEqual(['a2'])
    expect(left.every(({ actorId, subjectId }) => actorId === 'u1' || subjectId === 'u1')).toBe(true)
  })

  test('RL-3: of 20 that count at once, each sees another count', async () => {
    await using storage = await open()
    const seen: number[] = []
    await winners((index) =>
      storage.attempts.change(['k', `other${index}`], (current) => {
        const count = current.get('k')?.count ?? 0
        seen[index] = count
        return new Map([['k', { count: count + 1, blockedUntil: 7, expiresAt: 9 }]])
      }),
    )
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: RACERS }, (_, index) => index))
  })

  test('counters come back as written, go when told to, and are removed once expired', async () => {
    await using storage = await open()
    const far = { count: 1, blockedUntil: 0, expiresAt: Number.MAX_SAFE_INTEGER }
    await storage.attempts.change(
      ['a', 'b', 'c'],
      () =>
        new Map([
          ['a', far],
          ['b', far],
          ['c', { ...far, expiresAt: 5 }],
        ]),
    )
    await storage.attempts.change(['b'], () => new Map([['b', null]]))
    expect(await storage.attempts.purge(6, 10)).toBe(1)
    let left: unknown
    await storage.attempts.change(['a', 'b', 'c'], (current) => {
      left = [...current]
      return new Map()
    })
    expect(left).toEqual([['a', far]])
  })
}

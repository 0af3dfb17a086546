import { expect, test } from 'vitest'
import { entry, LIMITS, type Open, RACERS, session, user, winners } from './records.ts'

export function counterAndAuditTests(open: Open): void {
  test('entries are counted by whole spans of time', async () => {
    await using storage = await open()
    for (const [index, at] of [100, 109, 110, 125, 99].entries()) await storage.audit.append(entry(`a${index}`, { at }))
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
    expect(await storage.audit.purge(5, 10)).toBe(0)
    expect(await storage.audit.purge(6, 2)).toBe(2)
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

import { expect, test } from 'vitest'
import { hash, LIMITS, type Open, session } from './records.ts'

export function storeTests(open: Open): void {
  test('ST-5: the schema of a fresh store is neither behind nor ahead', async () => {
    await using storage = await open()
    expect(await storage.schema()).toEqual({ pending: [], newer: [] })
  })

  test('a healthy store passes its check, and nothing is left to migrate', async () => {
    await using storage = await open()
    await storage.check()
    expect(await storage.migrate()).toEqual([])
  })

  test('a closed store fails with unavailable, and with nothing else', async () => {
    await using storage = await open()
    await storage.close()
    await expect(storage.users.findById('u1')).rejects.toMatchObject({ reason: 'unavailable' })
    await expect(storage.sessions.find(hash('s1'))).rejects.toMatchObject({ reason: 'unavailable' })
    await expect(storage.sessions.start(session(), LIMITS)).rejects.toMatchObject({ reason: 'unavailable' })
    await storage.close()
  })
}

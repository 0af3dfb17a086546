import type { DatabaseSync } from 'node:sqlite'

interface Asked<K, V> {
  readonly key: K
  resolve(value: V): void
  reject(error: unknown): void
}

/**
 * One read for each key, and one transaction for all that are asked for in the same turn of the event loop: taking and giving back
 * its lock costs more than the reads. Nothing is kept: each sees what was committed before the turn ended in which it was asked.
 */
export function createReadTogether<K, V>(db: Pick<DatabaseSync, 'exec' | 'isTransaction'>, read: (key: K) => V): (key: K) => Promise<V> {
  let waiting: Asked<K, V>[] = []

  function answerAll(): void {
    const asked = waiting
    waiting = []
    if (asked.length === 1) return asked.forEach(answer)
    try {
      db.exec('begin')
    } catch (error) {
      return asked.forEach(({ reject }) => reject(error))
    }
    asked.forEach(answer)
    try {
      // A read that fails may have ended the transaction, too.
      if (db.isTransaction) db.exec('commit')
    } catch {
      // All were answered; what is wrong with the file shows at the next read.
    }
  }

  function answer({ key, resolve, reject }: Asked<K, V>): void {
    try {
      resolve(read(key))
    } catch (error) {
      reject(error)
    }
  }

  return (key) =>
    new Promise((resolve, reject) => {
      // After the sockets that are ready in this turn have all been read.
      if (waiting.length === 0) setImmediate(answerAll)
      waiting.push({ key, resolve, reject })
    })
}

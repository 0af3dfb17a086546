import { expect, test, vi } from 'vitest'
import { createWorkQueue } from '../../server/src/work-queue.ts'

const reasonOf = (job: Promise<unknown>) =>
  job.then(
    () => 'done',
    (error: { reason?: string }) => error.reason,
  )

function createJobs() {
  const finish: (() => void)[] = []
  return { finish, job: () => new Promise<void>((resolve) => void finish.push(resolve)) }
}

test('SH-2: as many run as may, as many wait as may, and the rest is refused at once', async () => {
  const { run } = createWorkQueue({ atOnce: 2, waiting: 3, waitMs: 60_000 })
  const { job, finish } = createJobs()
  const jobs = Array.from({ length: 7 }, () => reasonOf(run(job)))
  expect(await Promise.all(jobs.slice(5))).toEqual(['overloaded', 'overloaded'])
  expect(finish).toHaveLength(2)
  for (let done = 0; done < 5; done += 1) {
    finish[done]?.()
    await jobs[done]
    await Promise.resolve()
    expect(finish.length).toBe(Math.min(5, done + 3))
  }
  expect(await Promise.all(jobs.slice(0, 5))).toEqual(['done', 'done', 'done', 'done', 'done'])
})

test('SH-2: who has waited too long is refused, and leaves the place to others', async () => {
  vi.useFakeTimers()
  const { run } = createWorkQueue({ atOnce: 1, waiting: 1, waitMs: 2000 })
  const { job, finish } = createJobs()
  const first = reasonOf(run(job))
  const second = reasonOf(run(job))
  await vi.advanceTimersByTimeAsync(2000)
  vi.useRealTimers()
  expect(await second).toBe('overloaded')
  const third = reasonOf(run(job))
  finish[0]?.()
  expect(await first).toBe('done')
  await Promise.resolve()
  finish[1]?.()
  expect(await third).toBe('done')
})

test('a job that fails leaves its place to the next', async () => {
  const { run } = createWorkQueue({ atOnce: 1, waiting: 1, waitMs: 2000 })
  expect(await reasonOf(run(() => Promise.reject(Object.assign(new Error('no'), { reason: 'no' }))))).toBe('no')
  expect(await reasonOf(run(() => Promise.resolve()))).toBe('done')
})

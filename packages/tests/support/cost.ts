const SAMPLE_MS = 1
const SAMPLES = 7
const MAX_REPEATS = 500

/** What an act costs in CPU, in milliseconds: the least of several samples, because whatever else runs only ever adds to it. */
export function cpuOf(act: () => unknown): number {
  for (let warm = 0; warm < 3; warm += 1) act()
  const repeats = Math.min(MAX_REPEATS, Math.ceil(SAMPLE_MS / Math.max(0.001, sample(act, 1))))
  return Math.min(...Array.from({ length: SAMPLES }, () => sample(act, repeats)))
}

function sample(act: () => unknown, repeats: number): number {
  const before = process.cpuUsage()
  for (let i = 0; i < repeats; i += 1) act()
  return msSince(before) / repeats
}

/** The same for an act that is over later; whatever else this process does meanwhile counts too. */
export async function cpuOfAsync(act: () => Promise<unknown>, samples: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < samples; i += 1) {
    const before = process.cpuUsage()
    await act()
    least = Math.min(least, msSince(before))
  }
  return least
}

function msSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

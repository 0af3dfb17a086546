import type { Source } from './platform.ts'

// What tRPC's servers send, and what the source itself says.
const NAMES = ['connected', 'ping', 'message', 'serialized-error', 'return', 'error']
const OPEN = 1
const CLOSED = 2
const PATIENCE_MS = 3000

/** What the tab that holds the stream tells the others; without a name it only answers that it is there. */
interface Told {
  readonly name: string
  readonly data?: string
  readonly lastEventId?: string
  readonly readyState: number
}

/**
 * One stream for all tabs of an origin, because over HTTP/1.1 a browser has six connections for them all. The tab that holds the lock
 * holds the stream and tells the others what it hears; when it goes, the lock goes to another.
 */
export function openShared(url: string, open: () => EventSource): Source {
  const events = new EventTarget()
  const name = `trpc-login ${url}`
  const channel = new BroadcastChannel(name)
  const post: (message: Told | 'ask') => void = channel.postMessage.bind(channel)
  let readyState = 0
  let isAnswered = false
  let greeting = ''
  let source: EventSource | null = null
  let doubted: Told | null = null
  let waiting: AbortController

  function hear(told: Told): void {
    isAnswered = true
    // Without a name or for the second time: the answer to a question, which another tab may have asked.
    if (told.name === '' || (told.name === 'connected' && readyState === OPEN)) return
    // What ended another tab's stream may be the end of a session that is no longer this one's: asked again by whoever gets the lock.
    if (source === null && (told.name === 'serialized-error' || told.readyState === CLOSED)) {
      hear({ name: 'error', readyState: 0 })
      doubted = told
      return
    }
    if (source === null) doubted = null
    readyState = told.readyState
    events.dispatchEvent(new MessageEvent(told.name, told))
  }

  function tell(told: Told): void {
    post(told)
    hear(told)
  }

  function lead(): Promise<void> {
    // Whoever held the stream has gone, and what happened since was told to nobody.
    if (readyState === OPEN) tell({ name: 'error', readyState: 0 })
    const mine = (source = open())
    for (const name of NAMES)
      mine.addEventListener(name, (event) => {
        const { data, lastEventId } = event as MessageEvent<string>
        const told = { name, data, lastEventId, readyState: mine.readyState }
        if (name === 'connected') greeting = data
        tell(name === 'serialized-error' && doubted?.data !== undefined ? doubted : told)
      })
    return new Promise((resolve) => waiting.signal.addEventListener('abort', () => resolve()))
  }

  function wait(options?: LockOptions): void {
    const { signal } = (waiting = new AbortController())
    navigator.locks.request(name, options ?? { signal }, lead).catch(({ name }: Error) => {
      if (signal.aborted) return
      source?.close()
      source = null
      // There are no locks for this page.
      if (name !== 'AbortError') return void lead()
      // Another tab took the lock from this one, which had not answered.
      hear({ name: 'error', readyState: 0 })
      wait()
      ask()
    })
  }

  /** Asks for the stream's state, and takes the lock from a tab that is too fast asleep to answer. */
  function ask(): void {
    if (source !== null) return
    isAnswered = false
    post('ask')
    if (document.hidden) return
    setTimeout(() => {
      if (isAnswered || source !== null || readyState === CLOSED) return
      waiting.abort()
      wait({ steal: true })
    }, PATIENCE_MS)
  }

  channel.addEventListener('message', ({ data }: MessageEvent<Told | 'ask'>) => {
    if (data !== 'ask') hear(data)
    else if (source !== null) post({ name: readyState === OPEN ? 'connected' : '', data: greeting, readyState })
  })
  document.addEventListener('visibilitychange', ask)
  wait()
  ask()
  return {
    CLOSED,
    get readyState() {
      return readyState
    },
    addEventListener: (name, listener) => events.addEventListener(name, listener),
    close() {
      readyState = CLOSED
      document.removeEventListener('visibilitychange', ask)
      source?.close()
      waiting.abort()
      channel.close()
    },
  }
}

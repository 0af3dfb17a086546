import { type ContextRequest, type FastifyResponse, isSocket, isStreamed, type NodeResponse, type WebHeaders } from './request.ts'

const SET_COOKIE = 'set-cookie'
/** Cookies of ours by name, and the line that each is to be sent with. */
type Lines = Map<string, string>

// By response, so that what an application sets later does not take ours away.
const keptLines = new WeakMap<object, Lines>()

/** Why no cookie can be set on the answer to a request, or `null`. */
export function cookieObstacle(request: ContextRequest): string | null {
  const { res, resHeaders } = request
  if (isSocket(request)) return 'over a WebSocket; call it over HTTP, with httpLink or httpBatchLink'
  if (isStreamed(request)) return 'on an answer that is streamed; use httpLink or httpBatchLink'
  if (resHeaders !== undefined) return null
  if (res === undefined || !('getHeader' in res)) return 'here: createContext was given neither res nor resHeaders'
  return isOver('raw' in res ? res.raw : res) || ('raw' in res && res.sent) ? 'any more: the head of the answer was sent' : null
}

function isOver({ headersSent, writableEnded, destroyed }: NodeResponse): boolean {
  return headersSent || writableEnded === true || destroyed === true
}

/** Sends a cookie with the answer, or with `null` sends none of this name: the last word of a request about it counts. */
export function setCookie(request: ContextRequest, name: string, line: string | null): void {
  const target = targetOf(request)
  if (target === null) return
  const lines = keptLines.get(target) ?? keep(target)
  if (line === null) lines.delete(name)
  else lines.set(name, line)
  const others = linesOf(target).filter((other) => !other.startsWith(`${name}=`))
  writeLines(target, others, lines)
}

/** Sets a header of the answer, where its head was not sent yet. */
export function setHeader(request: ContextRequest, name: string, value: string): void {
  const target = targetOf(request)
  if (target === null) return
  if ('raw' in target) target.header(name, value)
  else if ('getHeader' in target) target.setHeader(name, value)
  else target.set(name, value)
}

/** The same, unless the application has set it. */
export function setHeaderOnce(request: ContextRequest, name: string, value: string): void {
  const target = targetOf(request)
  const isSet = target !== null && ('getHeader' in target ? target.getHeader(name) !== undefined : target.get(name) !== null)
  if (!isSet) setHeader(request, name, value)
}

type Target = NodeResponse | FastifyResponse | WebHeaders

function targetOf({ res, resHeaders }: ContextRequest): Target | null {
  if (resHeaders !== undefined) return resHeaders
  if (res === undefined || !('getHeader' in res)) return null
  return isOver('raw' in res ? res.raw : res) ? null : res
}

function linesOf(target: Target): string[] {
  return 'getHeader' in target ? toLines(target.getHeader(SET_COOKIE)) : target.getSetCookie()
}

function toLines(value: string | number | readonly string[] | undefined): string[] {
  if (value === undefined) return []
  return typeof value === 'object' ? [...value] : [String(value)]
}

/** Ours come with them, as `keep` has it. */
function writeLines(target: Target, others: readonly string[], ours: Lines): void {
  if ('raw' in target) {
    target.removeHeader(SET_COOKIE)
    target.header(SET_COOKIE, [...new Set([...others, ...ours.values()])])
  } else if ('getHeader' in target) {
    if (others.length + ours.size === 0) target.removeHeader(SET_COOKIE)
    else target.setHeader(SET_COOKIE, others)
  } else {
    target.delete(SET_COOKIE)
    for (const line of others) if (![...ours.values()].includes(line)) target.append(SET_COOKIE, line)
  }
}

/**
 * Makes our cookies outlast what sets all cookies anew: tRPC does so with those of `responseMeta`, and an application may. Done when
 * a cookie is first set, so that other answers are left as they are.
 */
function keep(target: Target): Lines {
  const lines: Lines = new Map()
  keptLines.set(target, lines)
  // Fastify adds to the cookies that it has, whoever sets more of them.
  if ('raw' in target) return lines
  if ('getHeader' in target) keepInNode(target, lines)
  else keepInHeaders(target, lines)
  return lines
}

function keepInNode(target: NodeResponse, lines: Lines): void {
  const [set, remove] = [target.setHeader.bind(target), target.removeHeader.bind(target)]
  target.setHeader = (name, value) => set(name, isCookie(name) ? [...new Set([...toLines(value), ...lines.values()])] : value)
  target.removeHeader = (name) => {
    if (isCookie(name) && lines.size > 0) set(name, [...lines.values()])
    else remove(name)
  }
}

function keepInHeaders(target: WebHeaders, lines: Lines): void {
  const [set, remove] = [target.set.bind(target), target.delete.bind(target)]
  const addOurs = (but: string) => {
    for (const line of lines.values()) if (line !== but) target.append(SET_COOKIE, line)
  }
  target.set = (name, value) => {
    set(name, value)
    if (isCookie(name)) addOurs(value)
  }
  target.delete = (name) => {
    remove(name)
    if (isCookie(name)) addOurs('')
  }
}

function isCookie(name: unknown): boolean {
  return String(name).toLowerCase() === SET_COOKIE
}

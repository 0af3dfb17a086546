import type { IncomingMessage } from 'node:http'
import type { AnyProcedure, AnyRouter } from '@trpc/server'

// What a path is made of, so that no decoding and no folding of segments can give it another meaning.
const TARGET = /([A-Za-z0-9_][A-Za-z0-9_.,-]*)(?:\?([!$-~]+))?$/y
const HOST = /^[A-Za-z0-9.-]+(?::\d{1,5})?$|^\[[0-9a-f:]+\](?::\d{1,5})?$/i
const JSON_TYPES: ReadonlySet<string> = new Set(['application/json', 'application/json; charset=utf-8', 'application/json;charset=utf-8'])
const MAX_HOSTS = 100

/** A request whose form leaves nothing open: plain calls of known procedures, all of one kind. */
export interface DirectRequest {
  readonly type: 'query' | 'mutation'
  readonly isBatchCall: boolean
  readonly paths: readonly string[]
  readonly procedures: readonly AnyProcedure[]
  /** What `?input=` says; of a mutation, `undefined`. */
  readonly query: string | undefined
  readonly url: URL
}

export interface ReaderOptions {
  readonly router: AnyRouter
  readonly basePath: string
  readonly maxBatchSize: number
  readonly maxBodySize: number
}

/** Reads requests for one router; `null` for every one that is unusual in any way, and is tRPC's own to answer. */
export function createRequestReader(options: ReaderOptions): (req: IncomingMessage) => DirectRequest | null {
  const { router, basePath, maxBatchSize, maxBodySize } = options
  const { procedures, _config: config } = router._def
  const hosts = new Set<string>()
  // Absent in earlier versions, which know no other separator.
  const separator = (config as { pathSeparator?: string }).pathSeparator ?? '.'
  const isPlain = separator === '.' && URL.parse(`${basePath}x`, 'https://x')?.href === `https://x${basePath}x`

  return (req: IncomingMessage): DirectRequest | null => {
    const { url = '', headers } = req
    if (!isPlain || !isUsual(req, maxBodySize) || !isHost(headers.host)) return null
    TARGET.lastIndex = basePath.length
    const [, path, search] = TARGET.exec(url) ?? []
    if (path === undefined) return null
    const query = search === undefined ? NO_QUERY : readQuery(search)
    if (query === null) return null
    const paths = query.isBatchCall ? path.split(',') : [path]
    if (paths.length > maxBatchSize) return null
    const type = req.method === 'GET' ? 'query' : 'mutation'
    const found: AnyProcedure[] = []
    for (const name of paths) {
      const procedure = (procedures as Readonly<Record<string, AnyProcedure | undefined>>)[name]
      if (procedure === undefined || !Object.hasOwn(procedures, name) || procedure._def.type !== type) return null
      found.push(procedure)
    }
    return {
      type,
      isBatchCall: query.isBatchCall,
      paths,
      procedures: found,
      query: type === 'query' ? query.input : undefined,
      url: new URL(url, `https://${headers.host}`),
    }
  }

  /** Whether a `Host` header makes a URL, and nothing but its host; asked once for each that comes. */
  function isHost(host: string | undefined): boolean {
    if (host === undefined) return false
    if (hosts.has(host)) return true
    if (!HOST.test(host) || !URL.canParse(`https://${host}`)) return false
    if (hosts.size < MAX_HOSTS) hosts.add(host)
    return true
  }
}

function isUsual({ method, httpVersionMajor, httpVersionMinor, headers }: IncomingMessage, maxBodySize: number): boolean {
  if (httpVersionMajor !== 1 || httpVersionMinor !== 1 || headers['trpc-accept'] !== undefined) return false
  if (headers.accept?.includes('jsonl') === true || headers['transfer-encoding'] !== undefined) return false
  const { 'content-type': contentType, 'content-length': length } = headers
  if (method === 'GET') return length === undefined && (contentType === undefined || JSON_TYPES.has(contentType))
  // An empty body was malformed to earlier versions, and no input to later ones.
  if (method !== 'POST' || length === undefined || contentType === undefined || !JSON_TYPES.has(contentType)) return false
  const size = Number(length)
  return size > 0 && size <= maxBodySize
}

const NO_QUERY = { isBatchCall: false, input: undefined }

function readQuery(search: string): { isBatchCall: boolean; input: string | undefined } | null {
  let batch: string | null | undefined
  let input: string | null | undefined
  for (const pair of search.split('&')) {
    if (pair.startsWith('batch=') && batch === undefined) batch = decode(pair.slice('batch='.length))
    else if (pair.startsWith('input=') && input === undefined) input = decode(pair.slice('input='.length))
    else return null
  }
  return batch === null || input === null ? null : { isBatchCall: batch === '1', input }
}

/** As `URLSearchParams` decodes, or `null` where it would have to mend something first. */
function decode(text: string): string | null {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  if (!spaced.includes('%')) return spaced
  try {
    return decodeURIComponent(spaced)
  } catch {
    return null
  }
}

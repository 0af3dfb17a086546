import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import type { AnyRouter } from '@trpc/server'
import { awsLambdaRequestHandler } from '@trpc/server/adapters/aws-lambda'
import { createExpressMiddleware } from '@trpc/server/adapters/express'
import { fastifyTRPCPlugin } from '@trpc/server/adapters/fastify'
import { fetchRequestHandler } from '@trpc/server/adapters/fetch'
import { createNextApiHandler } from '@trpc/server/adapters/next'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import type { AuthContext, ContextRequest } from '@trpc-login/server'
import express from 'express'
import fastify from 'fastify'

/** What an application gives to an adapter, whichever it is. */
export interface Mounted {
  readonly router: AnyRouter
  readonly createContext: (request: ContextRequest) => AuthContext | Promise<AuthContext>
  readonly responseMeta?: () => { headers?: Headers | Record<string, string> }
  readonly allowMethodOverride?: boolean
}

export interface Listening {
  readonly port: number
  close(): Promise<void>
}

/** tRPC's own adapters, each behind a real server on loopback, at `/trpc/`. */
export const ADAPTERS = {
  standalone: (mounted: Mounted) => serveNode(createHTTPHandler({ ...mounted, basePath: '/trpc/' })),
  express(mounted: Mounted) {
    const app = express()
    app.use('/trpc', createExpressMiddleware(mounted))
    return serveNode(app)
  },
  async fastify(mounted: Mounted): Promise<Listening> {
    const app = fastify({ routerOptions: { maxParamLength: 5000 }, forceCloseConnections: true })
    await app.register(fastifyTRPCPlugin, { prefix: '/trpc', trpcOptions: mounted } as never)
    await app.listen({ port: 0, host: '127.0.0.1' })
    return { port: (app.server.address() as AddressInfo).port, close: () => app.close() }
  },
  /** The pages router, which gives the path as a query. */
  next(mounted: Mounted) {
    const handle = createNextApiHandler(mounted as never) as unknown as (req: object, res: object) => Promise<void>
    return serveNode((req, res) => {
      const { pathname } = new URL(req.url ?? '', 'http://localhost')
      void handle(Object.assign(req, { query: { trpc: pathname.slice('/trpc/'.length) } }), res)
    })
  },
  fetch(mounted: Mounted) {
    return serveNode(async (req, res) => {
      const answer = await fetchRequestHandler({ ...mounted, endpoint: '/trpc', req: toRequest(req) })
      res.statusCode = answer.status
      res.setHeaders(answer.headers)
      if (answer.body === null) res.end()
      else Readable.fromWeb(answer.body as ReadableStream).pipe(res)
    })
  },
  /** As `docs/embedding.md` has it: its adapter gives an event, and takes headers from `responseMeta` alone. */
  lambda(mounted: Mounted) {
    const handle = awsLambdaRequestHandler({
      ...mounted,
      createContext: async ({ event, info }: { event: LambdaEvent; info: ContextRequest['info'] }) => {
        const resHeaders = new Headers(mounted.responseMeta?.().headers)
        const cookie = event.cookies.join('; ')
        const req = { method: event.requestContext.http.method, headers: { ...event.headers, cookie } }
        return { ...(await mounted.createContext({ req, resHeaders, ...(info && { info }) })), resHeaders }
      },
      responseMeta: ({ ctx }: { ctx?: { resHeaders: Headers } }) => ({ headers: ctx?.resHeaders ?? new Headers() }),
    } as never) as (event: LambdaEvent, context: unknown) => Promise<LambdaAnswer>
    return serveNode(async (req, res) => {
      const { statusCode, headers, cookies, body } = await handle(await toEvent(req), {})
      res.statusCode = statusCode
      res.setHeaders(new Map(Object.entries(headers)))
      if (cookies.length > 0) res.setHeader('set-cookie', cookies)
      res.end(body)
    })
  },
} satisfies Record<string, (mounted: Mounted) => Promise<Listening>>
export type AdapterName = keyof typeof ADAPTERS
export const ADAPTER_NAMES = Object.keys(ADAPTERS) as AdapterName[]

async function serveNode(listener: (...args: Parameters<RequestListener>) => unknown): Promise<Listening> {
  const server = createServer((req, res) => void listener(req, res))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function toRequest(req: IncomingMessage): Request {
  const { method = 'GET' } = req
  const headers = new Headers(Object.entries(req.headers).map(([name, value]) => [name, String(value)]))
  const body = method === 'GET' ? {} : { body: Readable.toWeb(req) as BodyInit, duplex: 'half' }
  return new Request(`http://${req.headers.host}${req.url}`, { method, headers, ...body })
}

interface LambdaEvent {
  readonly version: '2.0'
  readonly routeKey: '$default'
  readonly rawPath: string
  readonly rawQueryString: string
  readonly headers: Record<string, string>
  readonly cookies: string[]
  readonly requestContext: { readonly domainName: string; readonly http: { readonly method: string; readonly sourceIp: string } }
  readonly body: string
}

interface LambdaAnswer {
  readonly statusCode: number
  readonly headers: Record<string, string>
  readonly cookies: string[]
  readonly body: string
}

/** The payload of API Gateway, format 2.0. */
async function toEvent(req: IncomingMessage): Promise<LambdaEvent> {
  const { pathname, search } = new URL(req.url ?? '', 'http://localhost')
  const { cookie, ...headers } = Object.fromEntries(Object.entries(req.headers).map(([name, value]) => [name, String(value)]))
  let body = ''
  for await (const chunk of req.setEncoding('utf8')) body += String(chunk)
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: pathname.slice('/trpc'.length),
    rawQueryString: search.slice(1),
    headers,
    cookies: cookie?.split('; ') ?? [],
    requestContext: { domainName: 'localhost', http: { method: req.method ?? 'GET', sourceIp: '127.0.0.1' } },
    body,
  }
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { TRPCError } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import type { Auth } from '../auth.ts'
import { AuthError } from '../errors.ts'
import { callbackPath } from '../oauth.ts'
import { requestId } from '../request-scope.ts'
import { finish } from './body.ts'
import { awaitsContinue } from './malformed.ts'
import { refusePlainly } from './refuse.ts'

const ROUTE = /^\/oauth\/([a-z0-9-]{1,32})\/callback(?:\?|$)/
const MAX_FORM = 16 * 1024
const FORM = 'application/x-www-form-urlencoded'
// What a provider may send by form; anything else stays behind.
const PARAMETERS = ['code', 'state', 'iss', 'error', 'error_description', 'user'] as const

/**
 * Answers `/oauth/<provider>/callback`, to which providers send people back, and says whether it did. `createServer` has it; with
 * another adapter of Node put it in front: `if (!oauthRoutes(req, res)) handler(req, res)`.
 */
export function createOAuthRoutes(auth: Auth): (req: IncomingMessage, res: ServerResponse) => boolean {
  return (req, res) => {
    const provider = ROUTE.exec(req.url ?? '')?.[1]
    if (provider === undefined) return false
    answer(auth, provider, req, res).catch((error: unknown) => fail(auth, req, res, error))
    return true
  }
}

async function answer(auth: Auth, id: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { formPost } = auth.oauth.get(id)
  if (req.method === 'POST' && formPost) {
    if (awaitsContinue(req)) res.writeContinue()
    return goTo(res, `${callbackPath(id)}?${(await readForm(req)).toString()}`)
  }
  if (req.method !== 'GET') {
    res.setHeader('Allow', formPost ? 'GET, POST' : 'GET')
    const message = 'Providers send people here; there is nothing else to do'
    return void refusePlainly(res, new TRPCError({ code: 'METHOD_NOT_SUPPORTED', message }))
  }
  const parameters = new URL(req.url ?? '', 'https://own.invalid').searchParams
  const target = await auth.oauth.loopbackTarget(id, parameters)
  if (target !== null) return goTo(res, target.href)
  const { returnTo } = await auth.oauth.complete(auth.createContext({ req, res }).auth, id, parameters)
  goTo(res, returnTo)
}

/**
 * The form comes from another site, and so without our cookies; the same by way of a link brings them (RFC 6265bis section 5.2). It
 * changes nothing by itself.
 */
async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  if (req.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() !== FORM) {
    throw new AuthError('invalid_input', { message: `Send content-type: ${FORM}` })
  }
  let text = ''
  // Not destroyed where it is too long: the answer to it has the same connection.
  for await (const chunk of req.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += String(chunk)
    if (text.length > MAX_FORM) throw new AuthError('invalid_input', { message: `The form is too long (at most ${MAX_FORM} characters)` })
  }
  const form = new URLSearchParams(text)
  return new URLSearchParams(PARAMETERS.flatMap((name) => form.getAll(name).map((value) => [name, value])))
}

function goTo(res: ServerResponse, location: string): void {
  res.statusCode = 303
  res.setHeader('Location', location)
  finish(res)
}

function fail(auth: Auth, req: IncomingMessage, res: ServerResponse, cause: unknown): void {
  const known = cause instanceof AuthError ? cause : null
  const { reason = null, message = 'Internal server error', retryAfter } = known ?? {}
  const error = known ?? new TRPCError({ code: 'INTERNAL_SERVER_ERROR', message })
  if (known === null || reason === 'unavailable') auth.log.error({ error: String(cause) }, 'callback_failed')
  if (retryAfter !== undefined) res.setHeader('Retry-After', String(retryAfter))
  if (!(req.headers.accept ?? '').includes('text/html')) return void refusePlainly(res, error)
  const { appUrl, failurePath } = auth.oauth
  if (failurePath !== null) {
    const told = new URLSearchParams({ reason: reason ?? 'unexpected', requestId: requestId() ?? '' })
    return goTo(res, `${appUrl}${failurePath}?${told.toString()}`)
  }
  res.statusCode = getHTTPStatusCodeFromError(error)
  res.setHeader('Content-Type', 'text/html; charset=utf-8')
  finish(res, page(message, `${appUrl}/`))
}

/** For the person whom the provider has sent here. */
function page(message: string, home: string): string {
  const texts = [message, `Request ${requestId() ?? ''}`].map((text) => `<p>${escapeHtml(text)}</p>`)
  return `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Sign-in</title><h1>Sign-in did not succeed</h1>${texts.join('')}<p><a href="${home}">Back</a></p></html>`
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

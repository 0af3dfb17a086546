import type { CreateExpressContextOptions } from '@trpc/server/adapters/express'
import type { CreateFastifyContextOptions } from '@trpc/server/adapters/fastify'
import type { FetchCreateContextFnOptions } from '@trpc/server/adapters/fetch'
import type { NodeHTTPCreateContextFnOptions } from '@trpc/server/adapters/node-http'
import type { CreateHTTP2ContextOptions, CreateHTTPContextOptions } from '@trpc/server/adapters/standalone'
import type { CreateWSSContextFnOptions } from '@trpc/server/adapters/ws'
import { type ContextRequest, createAuth } from '@trpc-login/server'
import { expect, expectTypeOf, test } from 'vitest'

test('what any adapter gives to createContext is taken as it is', () => {
  expectTypeOf<CreateHTTPContextOptions>().toExtend<ContextRequest>()
  expectTypeOf<CreateHTTP2ContextOptions>().toExtend<ContextRequest>()
  expectTypeOf<
    NodeHTTPCreateContextFnOptions<CreateHTTPContextOptions['req'], CreateHTTPContextOptions['res']>
  >().toExtend<ContextRequest>()
  expectTypeOf<CreateExpressContextOptions>().toExtend<ContextRequest>()
  expectTypeOf<CreateFastifyContextOptions>().toExtend<ContextRequest>()
  expectTypeOf<FetchCreateContextFnOptions>().toExtend<ContextRequest>()
  expectTypeOf<CreateWSSContextFnOptions>().toExtend<ContextRequest>()
  // What programs have that call procedures in process, such as pages that are rendered on a server.
  expectTypeOf<{ req: Request }>().toExtend<ContextRequest>()
  expectTypeOf<{ req: { headers: Headers } }>().toExtend<ContextRequest>()
  expectTypeOf<{ req: { headers: { cookie?: string } } }>().toExtend<ContextRequest>()
  expectTypeOf<{ headers: Headers }>().not.toExtend<ContextRequest>()
  expectTypeOf<{ event: object }>().not.toExtend<ContextRequest>()
})

test('what is no request is refused with a word that says what is wanted', async () => {
  const auth = createAuth()
  for (const wrong of [{}, { event: {} }, { req: {} }, undefined]) {
    expect(() => auth.createContext(wrong as never)).toThrow(
      new TypeError('createContext: req must be the request that the adapter gives, with its headers'),
    )
  }
  await auth.close()
})

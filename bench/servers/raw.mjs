// The limit: Node's own HTTPS server with an answer that is ready.
import { GREETING, serve } from './announce.mjs'

const body = JSON.stringify({ result: { data: GREETING } })

serve((_req, res) => res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body), {
  raw: { target: '/' },
})

import autocannon, { type Client, type Request } from 'autocannon'
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { serve } from '../support/serve.ts'
import { quantile } from '../support/stats.ts'

/* The load generator. */

export interface LoadRequest {
  ports: number[]
  /** In all. */
  connections: number
  seconds: number
  /** Requests per second, whatever the answers take. Default: each connection asks again when it is answered. */
  rate?: number
  /** DELETE a new jti each time, instead of GET /me. */
  deletes?: boolean
}

export interface LoadResult {
  responses: number
  perSecond: number
  /** Milliseconds; at a fixed rate, from when a request was due. */
  p50: number
  p99: number
}

/** Requests that the connections cycle through, each of them drawn at random. */
const DRAWN = 4000
/** autocannon counts from before it has made its requests: it is stopped instead. */
const FOR_EVER = 3600

let tokens: string[] = []
const agent = new Agent({ keepAlive: true })

const handlers = {
  tokens (given: string[]) { tokens = given },

  run (load: LoadRequest): Promise<LoadResult> {
    return load.rate === undefined ? saturate(load) : steady(load.ports[0]!, load.rate, load.seconds)
  }
}

async function saturate ({ ports, connections, seconds, deletes = false }: LoadRequest): Promise<LoadResult> {
  const latencies: number[] = []
  const failed: Record<string, number> = {}
  const perPort = Math.max(1, Math.round(connections / ports.length))
  const drawn = Math.ceil(DRAWN / connections)
  let first = 0
  let last = 0
  const instances = ports.map((port) => autocannon({
    url: `http://127.0.0.1:${port}`,
    connections: perPort,
    duration: FOR_EVER,
    sampleInt: 50,
    setupClient (client: Client) {
      client.setRequests(deletes ? [deleting()] : Array.from({ length: drawn }, getting))
    }
  }, () => {}))
  for (const instance of instances) {
    instance.on('start', () => { setTimeout(() => instance.stop?.(), seconds * 1000) })
    instance.on('response', (_client, status, _bytes, milliseconds) => {
      last = performance.now()
      first ||= last - milliseconds
      latencies.push(milliseconds)
      if (status !== 200) failed[status] = (failed[status] ?? 0) + 1
    })
    instance.on('reqError', (error: Error) => { failed[error.message] = (failed[error.message] ?? 0) + 1 })
  }
  await Promise.all(instances.map((instance) => once(instance, 'done')))
  if (Object.keys(failed).length > 0) throw new Error(`not all answers were 200: ${JSON.stringify(failed)}`)
  return resultOf(latencies, last - first)
}

/** Not autocannon, whose connections send the requests of a second as fast as they can and wait for the next second. */
async function steady (port: number, rate: number, seconds: number): Promise<LoadResult> {
  const latencies: number[] = []
  const asked: Array<Promise<void>> = []
  const started = performance.now()
  const total = Math.round(rate * seconds)
  while (asked.length < total) {
    const due = Math.min(total, (performance.now() - started) * rate / 1000)
    while (asked.length < due) {
      const at = started + asked.length / rate * 1000
      asked.push(ask(port).then(() => { latencies.push(performance.now() - at) }))
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(asked)
  return resultOf(latencies, performance.now() - started)
}

function ask (port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    get({ agent, host: '127.0.0.1', port, path: '/me', headers: { authorization: authorization() } }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`an answer was ${response.statusCode}`))
      response.resume().on('end', resolve)
    }).on('error', reject)
  })
}

const resultOf = (latencies: number[], milliseconds: number): LoadResult => ({
  responses: latencies.length,
  perSecond: latencies.length / milliseconds * 1000,
  p50: quantile(latencies, 0.5),
  p99: quantile(latencies, 0.99)
})

const authorization = () => `Bearer ${tokens[Math.floor(Math.random() * tokens.length)]}`

const getting = (): Request => ({ method: 'GET', path: '/me', headers: { authorization: authorization() } })

function deleting (): Request {
  const headers = { authorization: authorization() }
  return {
    method: 'DELETE',
    headers,
    setupRequest: (request) => ({ ...request, method: 'DELETE', headers, path: `/v1/jwt/history/${crypto.randomUUID()}` })
  }
}

export type LoadHandlers = typeof handlers
serve(handlers)

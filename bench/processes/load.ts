import autocannon, { type Client, type Request } from 'autocannon'
import { once } from 'node:events'
import { serve } from '../support/child.ts'
import { quantile } from '../support/stats.ts'

/* The load generator. */

export interface LoadRequest {
  ports: number[]
  /** In all. */
  connections: number
  seconds: number
  /** DELETE a new jti each time, instead of GET /me. */
  deletes?: boolean
}

export interface LoadResult {
  responses: number
  perSecond: number
  /** Milliseconds. */
  p50: number
  p99: number
}

/** Requests that the connections cycle through, each of them drawn at random. */
const DRAWN = 4000
/** autocannon counts from before it has made its requests: it is stopped instead. */
const FOR_EVER = 3600

let tokens: string[] = []

const handlers = {
  tokens (given: string[]) { tokens = given },

  async run ({ ports, connections, seconds, deletes = false }: LoadRequest): Promise<LoadResult> {
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
    return {
      responses: latencies.length,
      perSecond: latencies.length / (last - first) * 1000,
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99)
    }
  }
}

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

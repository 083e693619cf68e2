import { Worker } from 'node:worker_threads'
import { Connection } from '../support/connection.ts'
import { serve } from '../support/serve.ts'
import { clockOfMachine, quantile } from '../support/stats.ts'
import type { Arrivals } from './arrivals.ts'

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

type Next = () => Buffer | string

let tokens: string[] = []
let gets: Buffer[] = []
const pools = new Map<number, Connection[]>()
const arrivals = new Worker(new URL('arrivals.js', import.meta.url))

const handlers = {
  tokens (given: string[]) {
    tokens = given
    gets = tokens.map((token) => Buffer.from(requestOf('GET', '/me', token)))
  },

  async run ({ ports, connections, seconds, rate, deletes = false }: LoadRequest): Promise<LoadResult> {
    const all = ports.flatMap((port) => connectionsTo(port, Math.max(1, Math.round(connections / ports.length))))
    const next = deletes ? deleting : getting
    const started = clockOfMachine()
    const latencies: number[] = []
    const failed: Record<string, number> = {}
    const ask = async (connection: Connection, since: number) => {
      const answer = await connection.ask(next())
      latencies.push(clockOfMachine() - since)
      if (answer !== '200') failed[answer] = (failed[answer] ?? 0) + 1
      return connection.isOpen
    }
    await (rate === undefined ? saturate(all, seconds, ask) : steady(all, { rate, seconds }, ask))
    if (Object.keys(failed).length > 0) throw new Error(`not all answers were 200: ${JSON.stringify(failed)}`)
    return {
      responses: latencies.length,
      perSecond: latencies.length / (clockOfMachine() - started) * 1000,
      p50: quantile(latencies, 0.5),
      p99: quantile(latencies, 0.99)
    }
  }
}

/** Gives whether the connection can be asked again. */
type Ask = (connection: Connection, since: number) => Promise<boolean>

async function saturate (connections: Connection[], seconds: number, ask: Ask) {
  const end = clockOfMachine() + seconds * 1000
  await Promise.all(connections.map(async (connection) => {
    for (let now = clockOfMachine(); now < end; now = clockOfMachine()) {
      if (!await ask(connection, now)) return
    }
  }))
}

async function steady (connections: Connection[], rate: Arrivals, ask: Ask) {
  const asked: Array<Promise<boolean>> = []
  await new Promise<void>((resolve) => {
    arrivals.removeAllListeners('message').on('message', (due: number | undefined) => {
      if (due === undefined) resolve()
      else asked.push(ask(connections[asked.length % connections.length]!, due))
    })
    arrivals.postMessage(rate)
  })
  await Promise.all(asked)
}

/** Kept from run to run: to open connections costs the server more than to answer. */
function connectionsTo (port: number, count: number): Connection[] {
  const pool = (pools.get(port) ?? []).filter(({ isOpen }) => isOpen)
  while (pool.length < count) pool.push(new Connection(port))
  pools.set(port, pool)
  return pool.slice(0, count)
}

const drawn = <T>(values: T[]) => values[Math.floor(Math.random() * values.length)]!

const getting: Next = () => drawn(gets)
const deleting: Next = () => requestOf('DELETE', `/v1/jwt/history/${crypto.randomUUID()}`, drawn(tokens))

const requestOf = (method: string, path: string, token: string) =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\n\r\n`

export type LoadHandlers = typeof handlers
serve(handlers)

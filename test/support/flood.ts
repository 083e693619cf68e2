import type { FastifyInstance } from 'fastify'
import { createHmac } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { SECRET } from './app.ts'

export interface Answer {
  statusCode: number
  headers: Record<string, unknown>
  payload: string
}

/**
 * A request through Fastify's own handler, hooks and all, without the streams of a socket or of inject(), which take
 * ten times as long as what is tested.
 */
export function ask (app: FastifyInstance, url: string, headers: Record<string, string>, method = 'GET'): Promise<Answer> {
  return new Promise((resolve) => {
    const request = { method, url, headers: { host: 'x', ...headers }, socket: { remoteAddress: '127.0.0.1' }, httpVersion: '1.1', on () {}, once () {} }
    const set: Record<string, unknown> = {}
    const response = {
      statusCode: 200,
      headersSent: false,
      writableEnded: false,
      on () {},
      once () {},
      removeListener () {},
      getHeader: (name: string) => set[name.toLowerCase()],
      setHeader: (name: string, value: unknown) => { set[name.toLowerCase()] = value },
      writeHead (statusCode: number, more: object = {}) {
        response.statusCode = statusCode
        response.headersSent = true
        Object.assign(set, more)
      },
      end (payload = '') {
        response.writableEnded = true
        resolve({ statusCode: response.statusCode, headers: set, payload: String(payload) })
      }
    }
    app.routing(request as unknown as IncomingMessage, response as unknown as ServerResponse)
  })
}

const encode = (part: string) => Buffer.from(part).toString('base64url')

/** A token of exactly this header and this payload, byte for byte, in the time of one HMAC. */
export function forge (payload: string | object, { header = '{"alg":"HS256","typ":"JWT"}', secret = SECRET } = {}): string {
  const input = `${encode(header)}.${encode(typeof payload === 'string' ? payload : JSON.stringify(payload))}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

setFlagsFromString('--expose-gc')
const gc: () => void = runInNewContext('gc')

/** What is in use when nothing is left to collect. */
export async function heapUsed (): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await turn()
    gc()
  }
  return process.memoryUsage().heapUsed
}

export const MEGABYTE = 2 ** 20

/** What nobody handled, while the test lasts. */
export function unhandled (t: { teardown: (fn: () => unknown) => void }): unknown[] {
  const found: unknown[] = []
  const note = (error: unknown) => { found.push(error) }
  process.on('unhandledRejection', note)
  process.on('uncaughtExceptionMonitor', note)
  t.teardown(() => {
    process.off('unhandledRejection', note)
    process.off('uncaughtExceptionMonitor', note)
  })
  return found
}

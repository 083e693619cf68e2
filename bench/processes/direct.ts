import { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { PerformanceObserver } from 'node:perf_hooks'
import { build } from '../contenders/build.ts'
import type { Build, Running } from '../contenders/contender.ts'
import { serve } from '../support/child.ts'
import { clockOfMachine, median } from '../support/stats.ts'

/*
 * Contenders without a network to their clients: Node.js' own request and response objects on a socket that swallows.
 * All in one process, which asks one after the other, so that whatever slows it down slows them all down. Needs
 * --expose-gc, and a young generation in which a window of requests finds room.
 */

export interface DirectResult {
  contender: string
  /** Microseconds of CPU per request. */
  cpu: number
  /** On V8's heap, per request. */
  bytes: number
}

const AT_ONCE = 64
/** Requests of one window in which bytes are counted. */
const WINDOW = 10 * AT_ONCE
const WINDOWS = 7

class Swallow extends Duplex {
  readonly remoteAddress = '127.0.0.1'
  override _read () {}
  override _write (_chunk: unknown, _encoding: string, done: () => void) { done() }
  override _writev (_chunks: unknown, done: () => void) { done() }
  setTimeout () { return this }
}

const all: Array<{ contender: string, running: Running }> = []
let headers: Array<{ host: string, authorization: string }>
const sockets = Array.from({ length: AT_ONCE }, () => new Swallow() as unknown as Socket)

let collections = 0
new PerformanceObserver((list) => { collections += list.getEntries().length }).observe({ entryTypes: ['gc'] })

const handlers = {
  async start ({ whats, tokens }: { whats: Build[], tokens: string[] }) {
    headers = tokens.map((token) => ({ host: '127.0.0.1', authorization: `Bearer ${token}` }))
    for (const what of whats) all.push({ contender: what.contender.name, running: await build(what) })
  },

  async run (seconds: number): Promise<DirectResult[]> {
    const costs = all.map((): number[] => [])
    for (const end = clockOfMachine() + seconds * 1000; clockOfMachine() < end;) {
      for (const [i, { running }] of all.entries()) {
        const before = process.cpuUsage()
        const requests = await wave(running)
        const { user, system } = process.cpuUsage(before)
        costs[i]!.push((user + system) / requests)
      }
    }
    const results: DirectResult[] = []
    for (const [i, { contender, running }] of all.entries()) {
      results.push({ contender, cpu: median(costs[i]!), bytes: await bytes(running) })
    }
    return results
  }
}

/** What the heap grows by while nothing is collected. Windows with a collection in them do not count. */
async function bytes (running: Running): Promise<number> {
  const found: number[] = []
  for (let tries = 0; found.length < WINDOWS && tries < 10 * WINDOWS; tries++) {
    global.gc!({ type: 'minor' } as never)
    // The observer is told later.
    await new Promise((resolve) => setTimeout(resolve, 5))
    const collected = collections
    const before = process.memoryUsage().heapUsed
    for (let done = 0; done < WINDOW;) done += await wave(running)
    const grown = process.memoryUsage().heapUsed - before
    await new Promise((resolve) => setTimeout(resolve, 5))
    if (collections === collected) found.push(grown / WINDOW)
  }
  return median(found)
}

async function wave (running: Running): Promise<number> {
  const statuses = await Promise.all(sockets.map((socket) => request(running, socket)))
  for (const status of statuses) {
    if (status !== 200) throw new Error(`an answer was ${status}`)
  }
  return statuses.length
}

function request (running: Running, socket: Socket): Promise<number> {
  const request = new IncomingMessage(socket)
  request.method = 'GET'
  request.url = '/me'
  request.httpVersion = '1.1'
  request.httpVersionMajor = 1
  request.httpVersionMinor = 1
  request.headers = { ...headers[Math.floor(Math.random() * headers.length)] }
  request.complete = true
  request.push(null)
  const response = new ServerResponse(request)
  response.assignSocket(socket)
  return new Promise((resolve) => {
    response.on('finish', () => {
      response.detachSocket(socket)
      resolve(response.statusCode)
    })
    running.dispatch(request, response)
  })
}

export type DirectHandlers = typeof handlers
serve(handlers)

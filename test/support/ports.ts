import { createServer } from 'node:net'

const LOWEST = 12_000
const HIGHEST = 21_999

/**
 * Test processes that run at once pick in parts of their own, and a process picks no port twice in a short time. A server
 * that is down comes back to its port: in between, nobody else may answer there.
 */
const WIDTH = (HIGHEST - LOWEST + 1) / 10
const FIRST = LOWEST + process.pid % 10 * WIDTH
const REMEMBERED = 300
const picked: number[] = []

/** A cluster node's bus listens at its port plus this. */
export const BUS_OFFSET = 10_000

/**
 * A loopback port that was free a moment ago: whoever binds it must be ready to lose the race and ask again.
 *
 * It is picked below the range that kernels hand out to outgoing connections (from 32768 on Linux): while a
 * server is down, a client that reconnects to a port of that range can be given the same port as its own end
 * and be connected to itself, or keep the server from coming back. The bus port stays below it as well.
 */
export async function freePort ({ bus = false } = {}): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = FIRST + Math.floor(Math.random() * WIDTH)
    if (picked.includes(port) || !await isFree(port) || (bus && !await isFree(port + BUS_OFFSET))) continue
    picked.push(port)
    if (picked.length > REMEMBERED) picked.shift()
    return port
  }
  throw new Error(`no free port from ${FIRST} on`)
}

function isFree (port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}

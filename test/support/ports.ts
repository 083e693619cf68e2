import { createServer } from 'node:net'

const LOWEST = 12_000
const HIGHEST = 21_999

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
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1))
    if (await isFree(port) && (!bus || await isFree(port + BUS_OFFSET))) return port
  }
  throw new Error(`no free port between ${LOWEST} and ${HIGHEST}`)
}

function isFree (port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}

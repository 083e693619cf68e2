import { createServer, type Server } from 'node:net'

const LOWEST = 12_000
const HIGHEST = 21_999
const PARTS = 40
/** How many ports a part has. */
export const WIDTH = (HIGHEST - LOWEST + 1) / PARTS
/** Whoever listens here has the first part, at the next port the second one, and so on. */
const TAKEN = LOWEST - PARTS

/** A process picks no port twice in a short time. */
const REMEMBERED = 200
const picked: number[] = []
let first: Promise<number> | undefined

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
  const from = await (first ??= ownPart())
  for (let tries = 0; tries < 5 * WIDTH; tries++) {
    const port = from + Math.floor(Math.random() * WIDTH)
    if (picked.includes(port) || !await isFree(port) || (bus && !await isFree(port + BUS_OFFSET))) continue
    picked.push(port)
    if (picked.length > REMEMBERED) picked.shift()
    return port
  }
  throw new Error(`no free port from ${from} on`)
}

/**
 * The lowest port of a part that is this process's for as long as it lives. While a server is down, another process's must
 * not answer in its place: a client that comes back would take that one's data for its own.
 */
export async function ownPart (): Promise<number> {
  for (let tries = 0; tries < PARTS; tries++) {
    const part = (process.pid + tries) % PARTS
    const server = await listening(TAKEN + part)
    if (!server) continue
    server.unref()
    return LOWEST + part * WIDTH
  }
  throw new Error(`${PARTS} processes have ports already: wait until one of them ends`)
}

async function isFree (port: number): Promise<boolean> {
  const server = await listening(port)
  if (!server) return false
  await new Promise((resolve) => server.close(resolve))
  return true
}

function listening (port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server))
  })
}

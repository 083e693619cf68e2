import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, connect, type Socket } from 'node:net'
import { freePort } from './ports.ts'
import type { Owner } from './redis.ts'
import { commandsIn } from './resp.ts'

/**
 * - `pass`: hands on everything
 * - `refuse`: nobody listens; the connections there are get reset
 * - `blackhole`: accepts connections and swallows every byte of both directions
 * - `garbage`: answers whatever the client sends with bytes that are no RESP; the target hears nothing
 * - `delayMs`: hands on each chunk that much later, in order, in each direction
 * - `replace`: hands on what the function makes of each chunk from the target
 * - `holdAfter`: keeps back what the target answers on a connection from the first chunk of the client on for which the
 *   function gives true, until the mode changes
 * - `breakAt`: breaks the connection at the command of the client for which the function gives where: `before` the target
 *   hears it, or `after` the target has run it and before the client is answered. All that the client was sent before has
 *   been run, and no answer of that moment comes. The mode is `pass` then, and `broken` is called
 */
export type ProxyMode = 'pass' | 'refuse' | 'blackhole' | 'garbage' | { delayMs: number } | { replace: (chunk: Buffer) => Buffer } |
  { holdAfter: (sent: Buffer) => boolean } |
  { breakAt: (command: string) => 'before' | 'after' | undefined, broken?: () => void }

export interface Proxy {
  readonly port: number
  readonly url: string
  readonly mode: ProxyMode
  /** How many clients are connected. */
  readonly connections: number
  // Two signatures, because strings have a method `replace` as well: in one, the compiler finds no type for the parameter of ours.
  /** Holds for the connections there are and for new ones, from the moment it resolves. */
  set (mode: Exclude<ProxyMode, string>): Promise<void>
  set (mode: ProxyMode): Promise<void>
  /** Resets every connection; new ones are served as the mode says. */
  cut (): void
  /** Swallows every byte of the connections there are, without closing one, as a balancer does with idle ones. New ones are served as the mode says. */
  forget (): void
}

const HOST = '127.0.0.1'

export async function startProxy (t: Owner, target: { host: string, port: number }): Promise<Proxy> {
  const links = new Set<Link>()
  const server = createServer((client) => {
    const link = new Link(client, target, () => mode, () => { mode = 'pass' })
    links.add(link)
    client.once('close', () => links.delete(link))
  })
  const listen = (port: number) => once(server.listen({ port, host: HOST, exclusive: true }), 'listening')
  const cut = () => {
    for (const link of links) link.reset()
    links.clear()
  }
  const close = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    cut()
    await closed
  }

  let mode: ProxyMode = 'pass'
  const port = await firstFree(listen)
  t.after(close)

  return {
    port,
    url: `redis://${HOST}:${port}`,
    get mode () { return mode },
    get connections () { return links.size },
    async set (next) {
      mode = next
      if (mode === 'refuse') return await close()
      if (!server.listening) await listen(port)
      for (const link of links) link.modeChanged()
    },
    cut,
    forget () {
      for (const link of links) link.forget()
    }
  }
}

async function firstFree (listen: (port: number) => Promise<unknown>): Promise<number> {
  for (let tries = 1; ; tries++) {
    const port = await freePort()
    try {
      await listen(port)
      return port
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries === 10) throw error
    }
  }
}

/** A client's connection and the one made to the target on its behalf. */
class Link {
  readonly #client: Socket
  readonly #target: Socket
  readonly #mode: () => ProxyMode
  readonly #toTarget: Lane
  readonly #toClient: Lane
  #targetGone = false
  #isForgotten = false
  /** The answers that are kept back go on when it resolves. */
  #held: { promise: Promise<void>, resolve: () => void } | undefined

  constructor (client: Socket, target: { host: string, port: number }, modeOfAll: () => ProxyMode, pass: () => void) {
    const mode = () => this.#isForgotten ? 'blackhole' : modeOfAll()
    this.#client = client.setNoDelay()
    this.#target = connect(target).setNoDelay()
    this.#mode = mode
    this.#toTarget = new Lane(this.#target, mode)
    this.#toClient = new Lane(this.#client, mode)

    client.on('data', (chunk) => {
      // No type of RESP starts with a zero byte, so no client can take this for the beginning of an answer.
      const now = mode()
      if (typeof now === 'object' && 'holdAfter' in now && now.holdAfter(chunk)) this.#held ??= heldBack()
      if (typeof now === 'object' && 'breakAt' in now) {
        const { broken } = now
        if (!this.#sendUntil(chunk, now.breakAt)) return
        pass()
        this.#target.once('close', () => {
          this.reset()
          broken?.()
        })
      } else if (now === 'garbage') client.write(Buffer.concat([Buffer.from('\0garbage\r\n'), randomBytes(32)]))
      else this.#toTarget.push(chunk)
    })
    this.#target.on('data', (chunk) => {
      const now = mode()
      if (now === 'garbage') return
      this.#toClient.push(typeof now === 'object' && 'replace' in now ? now.replace(chunk) : chunk, this.#held?.promise)
    })
    client.on('error', () => {})
    this.#target.on('error', () => {})
    client.once('close', () => this.#toTarget.end())
    this.#target.once('close', () => {
      this.#targetGone = true
      this.modeChanged()
    })
  }

  forget (): void {
    this.#isForgotten = true
  }

  /** Sends what comes before the break, and gives whether there is one. */
  #sendUntil (chunk: Buffer, breakAt: (command: string) => 'before' | 'after' | undefined): boolean {
    for (const command of commandsIn(chunk)) {
      const where = breakAt(command.toString())
      if (where !== 'before') this.#target.write(command)
      if (where === undefined) continue
      this.forget()
      // Redis runs what it was sent before it closes the connection.
      this.#target.end()
      return true
    }
    return false
  }

  reset (): void {
    for (const socket of [this.#client, this.#target]) {
      // What is being shut down can't be reset: Node would never close it, and the process never end.
      if (socket.writableEnded) socket.destroy()
      else socket.resetAndDestroy()
    }
  }

  /** A lost target shows only in the modes that let the client see the target. */
  modeChanged (): void {
    const mode = this.#mode()
    if (typeof mode !== 'object' || !('holdAfter' in mode)) {
      this.#held?.resolve()
      this.#held = undefined
    }
    if (this.#targetGone && mode !== 'blackhole' && mode !== 'garbage') this.#toClient.end()
  }
}

function heldBack () {
  let resolve!: () => void
  const promise = new Promise<void>((_resolve) => { resolve = _resolve })
  return { promise, resolve }
}

/** One direction: what goes in comes out in order, each chunk when the delay at its arrival is over. */
class Lane {
  readonly #out: Socket
  readonly #mode: () => ProxyMode
  #last: Promise<void> = Promise.resolve()
  #waiting = 0

  constructor (out: Socket, mode: () => ProxyMode) {
    this.#out = out
    this.#mode = mode
  }

  push (chunk: Buffer, until?: Promise<void>): void {
    const mode = this.#mode()
    if (mode === 'blackhole') return
    this.#after(typeof mode === 'object' && 'delayMs' in mode ? mode.delayMs : 0, until, () => {
      const now = this.#mode()
      if (now !== 'blackhole' && now !== 'garbage' && this.#out.writable) this.#out.write(chunk)
    })
  }

  end (): void {
    this.#after(0, undefined, () => this.#out.end())
  }

  #after (delayMs: number, until: Promise<void> | undefined, act: () => void): void {
    if (delayMs === 0 && until === undefined && this.#waiting === 0) return act()
    const timer = delayMs === 0 ? undefined : new Promise<void>((resolve) => setTimeout(resolve, delayMs).unref())
    const turn = Promise.all([this.#last, timer, until])
    this.#waiting++
    this.#last = turn.then(() => {
      this.#waiting--
      act()
    })
  }
}

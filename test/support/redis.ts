import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { freePort } from './ports.ts'

/** What these servers need of a test: tap's `t`, node:test's, or a benchmark's own. */
export interface Owner {
  after (teardown: () => unknown): unknown
}

export interface RedisOptions {
  /** Further arguments of redis-server. */
  args?: string[]
  /** Default: any free one. */
  port?: number
  /** Keep the data over kill() and start(): an append-only file, synced on every write. Default false. */
  persist?: boolean
}

export interface ClusterOptions {
  /** Default 3. */
  masters?: number
  /** Replicas of each master, default 0. */
  replicas?: number
  /** Further arguments of each redis-server. */
  args?: string[]
}

export interface Cluster {
  nodes: Array<{ host: string, port: number }>
  /** The masters first, then each master's replicas in the masters' order. */
  servers: RedisServer[]
  /** The keys on all the nodes that run, sorted. */
  keys (pattern: string): Promise<string[]>
}

const HOST = '127.0.0.1'
/** A busy machine starts many servers at once. */
const PATIENCE = 60_000
const SLOTS = 16_384
const PORT_TAKEN = /Address already in use|Could not create server TCP|Failed listening on port/i

// A test that crashes gets no teardown.
const left = new Set<RedisServer>()
process.on('exit', () => {
  for (const server of left) server.abandon()
})

export async function startRedis (t: Owner, { args = [], port, persist = false }: RedisOptions = {}): Promise<RedisServer> {
  const dir = await mkdtemp(join(tmpdir(), 'redis-'))
  const persistence = persist ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no']
  const all = ['--bind', HOST, '--dir', dir, '--save', '', ...persistence, ...args]
  const needsBus = args.join(' ').includes('--cluster-enabled yes')
  for (let tries = 1; ; tries++) {
    const server = new RedisServer(port ?? await freePort({ bus: needsBus }), dir, all)
    left.add(server)
    try {
      await server.start()
    } catch (error) {
      left.delete(server)
      if (port === undefined && error instanceof PortTakenError && tries < 10) continue
      await rm(dir, { recursive: true, force: true })
      throw error
    }
    t.after(async () => {
      // At once, because tap gives a test that timed out no time to wait; and again for what a dying server may still write.
      server.abandon()
      await server.kill()
      server.abandon()
      left.delete(server)
    })
    return server
  }
}

export async function startCluster (t: Owner, { masters = 3, replicas = 0, args = [] }: ClusterOptions = {}): Promise<Cluster> {
  const clustered = [
    '--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', '2000',
    '--cluster-announce-ip', HOST, '--repl-diskless-sync-delay', '0', ...args
  ]
  const servers = await Promise.all(Array.from({ length: masters * (1 + replicas) }, () => startRedis(t, { args: clustered })))
  const first = servers[0]!
  const leaders = servers.slice(0, masters)

  await Promise.all(leaders.map(async (server, i) => {
    const from = Math.floor(i * SLOTS / masters)
    const to = Math.floor((i + 1) * SLOTS / masters)
    // ADDSLOTSRANGE came with Redis 7.
    await server.cli('CLUSTER', 'ADDSLOTS', ...Array.from({ length: to - from }, (_, slot) => from + slot))
    // Masters that meet with one epoch settle it by an election each, which takes longer.
    await server.cli('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
  }))
  for (const server of servers.slice(1)) await first.cli('CLUSTER', 'MEET', HOST, server.port)
  await Promise.all(servers.map((server) => eventually(`node ${server.port} knows the others`, async () => {
    const nodes = (await server.cli('CLUSTER', 'NODES')).trim().split('\n')
    return nodes.length === servers.length && nodes.every((line) => !line.includes('handshake') && line.includes(' connected'))
  })))

  const followers = servers.slice(masters)
  await Promise.all(followers.map(async (server, i) => {
    const leader = await leaders[Math.floor(i / replicas)]!.cli('CLUSTER', 'MYID')
    await server.cli('CLUSTER', 'REPLICATE', leader)
    await eventually(`replica ${server.port} is in step`, async () => /^master_link_status:up/m.test(await server.cli('INFO', 'replication')))
  }))
  await Promise.all(servers.map((server) => eventually(`node ${server.port} sees a whole cluster`, async () => {
    const info = await server.cli('CLUSTER', 'INFO')
    const nodes = await server.cli('CLUSTER', 'NODES')
    return /^cluster_state:ok/m.test(info) && info.includes(`cluster_slots_ok:${SLOTS}`) &&
      nodes.split(/\bslave\b/).length - 1 === followers.length
  })))

  return {
    nodes: servers.map(({ port }) => ({ host: HOST, port })),
    servers,
    async keys (pattern) {
      const found = await Promise.all(servers.filter((server) => server.running).map((server) => server.keys(pattern)))
      return [...new Set(found.flat())].sort()
    }
  }
}

export class RedisServer {
  readonly host = HOST
  readonly port: number
  readonly url: string
  readonly #dir: string
  readonly #args: string[]
  readonly #log: string
  readonly #password: string | undefined
  readonly #info: string
  #child: ChildProcess | undefined
  #exited: Promise<unknown> | undefined

  constructor (port: number, dir: string, args: string[]) {
    this.port = port
    this.#dir = dir
    this.#log = join(dir, 'redis.log')
    this.#args = ['--port', String(port), '--logfile', this.#log, ...args]
    const password = args.indexOf('--requirepass')
    this.#password = password < 0 ? undefined : args[password + 1]
    // Its other name, where it is renamed.
    this.#info = args[args.indexOf('INFO') + 1 || args.length] ?? 'INFO'
    this.url = `redis://${this.#password === undefined ? '' : `:${encodeURIComponent(this.#password)}@`}${HOST}:${port}`
  }

  get running (): boolean {
    return this.#child !== undefined
  }

  /** Again on the same port and directory, after kill() or stop(). Resolves when it answers. */
  async start (): Promise<void> {
    if (this.#child) throw new Error(`the server on port ${this.port} runs already`)
    await rm(this.#log, { force: true })
    const child = spawn(binary(), this.#args, { stdio: 'ignore' })
    this.#child = child
    this.#exited = once(child, 'exit').catch(() => {}).finally(() => {
      if (this.#child === child) this.#child = undefined
    })
    try {
      await eventually(`redis-server on port ${this.port} answers`, async () => {
        if (this.#child !== child) throw await this.#startError()
        return await this.#answers(child.pid)
      })
    } catch (error) {
      await this.kill()
      throw error
    }
  }

  /** It keeps its connections and answers nothing, until resume(). */
  pause (): void {
    this.#signal('SIGSTOP')
  }

  resume (): void {
    this.#signal('SIGCONT')
  }

  /** A crash: SIGKILL. Resolves when the process is gone. */
  async kill (): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  /** An orderly shutdown. Resolves when the process is gone. */
  async stop (): Promise<void> {
    this.#child?.kill('SIGCONT')
    this.#child?.kill('SIGTERM')
    await this.#exited
  }

  /** For when there is no time left to wait: ends the process and removes its directory. */
  abandon (): void {
    this.#child?.kill('SIGKILL')
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** One command on a connection of its own; the reply as redis-cli prints it: a line an element, nil is ''. */
  async cli (...args: [command: string, ...args: Array<string | number>]): Promise<string> {
    return await this.#connected(async (redis) => printed(await call(redis, args)))
  }

  /** How often the server ran a command since it started or since `CONFIG RESETSTAT`: `get`, or `xgroup|create` for a subcommand. */
  async commandCalls (name: string): Promise<number> {
    const line = (await this.cli('INFO', 'commandstats')).split('\r\n').find((line) => line.startsWith(`cmdstat_${name.toLowerCase()}:`))
    return Number(/calls=(\d+)/.exec(line ?? '')?.[1] ?? 0)
  }

  /** The keys of database 0 that match a pattern, sorted. */
  async keys (pattern: string): Promise<string[]> {
    return await this.#connected(async (redis) => {
      const found = new Set<string>()
      let cursor = '0'
      do {
        const [next, keys] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1000)
        for (const key of keys) found.add(key)
        cursor = next
      } while (cursor !== '0')
      return [...found].sort()
    })
  }

  #signal (signal: NodeJS.Signals): void {
    if (!this.#child) throw new Error(`the server on port ${this.port} is not running`)
    this.#child.kill(signal)
  }

  async #connected<T> (use: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis({
      host: HOST,
      port: this.port,
      password: this.#password,
      // Few commands of its own, so that commandCalls() counts the tested ones.
      protocol: 2,
      disableClientInfo: true,
      enableReadyCheck: false,
      lazyConnect: true,
      connectTimeout: 5000,
      commandTimeout: 5000,
      retryStrategy: () => null
    })
    // The rejections say the same.
    redis.on('error', () => {})
    try {
      await redis.connect()
      return await use(redis)
    } finally {
      redis.disconnect()
    }
  }

  /** Whether the answer comes from our process: a server that took the port first would answer as well. */
  async #answers (pid: number | undefined): Promise<boolean> {
    try {
      return await this.#connected(async (redis) =>
        new RegExp(`^process_id:${pid}\\r?$`, 'm').test(String(await redis.call(this.#info, 'server'))) && await redis.ping() === 'PONG')
    } catch {
      return false
    }
  }

  async #startError (): Promise<Error> {
    const log = await readFile(this.#log, 'utf8').catch(() => '')
    const message = `redis-server on port ${this.port} ended at once:\n${log || `its arguments were ${this.#args.join(' ')}`}`
    return PORT_TAKEN.test(log) ? new PortTakenError(message) : new Error(message)
  }
}

class PortTakenError extends Error {}

/** Twenty milliseconds between the tries, and three times as many after a second. What `holds` throws ends it at once. */
export async function eventually (what: string, holds: () => Promise<boolean>): Promise<void> {
  const began = Date.now()
  while (!await holds()) {
    if (Date.now() > began + PATIENCE) throw new Error(`after ${PATIENCE / 1000} s it still did not hold: ${what}`)
    await sleep(Date.now() > began + 1000 ? 60 : 20)
  }
}

function call (redis: Redis, [command, ...args]: [command: string, ...args: Array<string | number>]): Promise<unknown> {
  return redis.call(command, ...args)
}

function printed (reply: unknown): string {
  if (Array.isArray(reply)) return reply.map(printed).join('\n')
  return reply === null ? '' : String(reply)
}

/** The same choice as in ensure-redis.js. */
export function binary (): string {
  if (process.env.REDIS_SERVER) return process.env.REDIS_SERVER
  const folders = (process.env.PATH ?? '').split(delimiter)
  const found = ['redis-server', 'valkey-server'].find((name) => folders.some((folder) => existsSync(join(folder, name))))
  if (!found) throw new Error('no redis-server on the PATH: node test/support/ensure-redis.js installs it or says how')
  return found
}

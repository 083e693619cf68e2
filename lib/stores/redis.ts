import type { Milliseconds, Seconds } from '../expiry.ts'
import { keysUnder, type Keys } from '../keys.ts'
import type { RedisClient, TokenRecord } from '../types.ts'
import { CheckBatcher, type ReadMany } from './batcher.ts'
import { Deadline } from './deadline.ts'
import { Health } from './health.ts'
import type { CheckCallback, Denial, Store, StoreContext } from './store.ts'

/*
 * Keeps a denial and never shortens one that stands.
 *   KEYS[1]  the revoked key        ARGV[1]  its value, JSON
 *   ARGV[2]  kept until, milliseconds since the epoch; '' for ever
 *   ARGV[3]  the same as milliseconds from now by the caller's clock
 * Returns whether this is the first, and the value that stands. GET comes first: on a key of another type it fails before anything is changed.
 * The longer of the two times wins, so that a denial ends too early only where the clocks of Redis and of the caller
 * are both ahead of a verifier's.
 */
const REVOKE = `
local standing = redis.call('GET', KEYS[1])
local ttl
if ARGV[2] ~= '' then
  local now = redis.call('TIME')
  ttl = math.max(ARGV[2] - now[1] * 1000 - math.floor(now[2] / 1000), tonumber(ARGV[3]))
end
if not standing then
  if ttl then redis.call('SET', KEYS[1], ARGV[1], 'PX', ttl) else redis.call('SET', KEYS[1], ARGV[1]) end
  return {1, ARGV[1]}
end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 then
  if not ttl then redis.call('PERSIST', KEYS[1])
  elseif ttl > left then redis.call('PEXPIRE', KEYS[1], ttl) end
end
return {0, standing}`

type Answer = Parameters<ReadMany>[1]
type Command = [name: string, ...args: Array<string | number>]

export interface RedisStoreOptions {
  keyPrefix: string
  storeTimeout: Milliseconds
}

/** Keeps everything in Redis, on one node or a cluster: each command touches the slot of one key, but for MGET on one node (P8). */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly #client: RedisClient
  readonly #keys: Keys
  readonly #clock: () => Milliseconds
  readonly #deadline: Deadline
  readonly #health: Health
  readonly #batcher: CheckBatcher

  constructor (client: RedisClient, { keyPrefix, storeTimeout }: RedisStoreOptions, context: StoreContext) {
    this.#client = client
    this.#keys = keysUnder(keyPrefix)
    this.#clock = context.clock
    this.#deadline = new Deadline(storeTimeout)
    // An identity is never empty: this key is ours to read, and holds nothing.
    this.#health = new Health(() => this.#within(() => this.#send(['get', this.#keys.revoked('')])), context)
    const read = client.isCluster ? this.#readEach : this.#readAll
    this.#batcher = new CheckBatcher(this.#deadline, this.#health, read.bind(this))
  }

  get available () {
    return this.#health.available
  }

  start () {
    return this.#health.start(this.#deadline.timeout)
  }

  close () {
    this.#health.close()
  }

  check (identity: string, done: CheckCallback) {
    this.#batcher.add(identity, done)
  }

  async revoke (identity: string, denial: Denial, keptUntil: Seconds | null) {
    const end = keptUntil === null ? ['', ''] : [keptUntil * 1000, Math.ceil(keptUntil * 1000 - this.#clock())]
    const command: Command = ['eval', REVOKE, 1, this.#keys.revoked(identity), JSON.stringify(denial), ...end]
    const [answer] = await this.#watched(() => this.#all([command]))
    if (!Array.isArray(answer) || typeof answer[1] !== 'string') throw new TypeError('Redis answered nonsense to a revocation')
    return { ...(parseDenial(answer[1]) ?? denial), first: Number(answer[0]) === 1 }
  }

  async saveRecord (record: TokenRecord, identity: string, keptUntil: Seconds | null) {
    const end = keptUntil === null ? [] : ['EXAT', keptUntil]
    const commands: Command[] = [
      ['set', this.#keys.token(record.id), JSON.stringify(record), ...end],
      ['set', this.#keys.id(identity), record.id, ...end]
    ]
    await this.#watched(() => this.#all(commands))
  }

  async record (id: string) {
    return parseRecord(await this.#call('get', this.#keys.token(id)))
  }

  recordOf (identity: string) {
    // One deadline for both reads.
    return this.#watched(async () => {
      const id = await this.#send(['get', this.#keys.id(identity)])
      // Without an id this reads a key that is never there, which takes as long.
      return parseRecord(await this.#send(['get', this.#keys.token(typeof id === 'string' ? id : '')]))
    })
  }

  #call (...command: Command): Promise<unknown> {
    return this.#watched(() => this.#send(command))
  }

  async #send (command: Command): Promise<unknown> {
    try {
      return await this.#client.call(...command)
    } catch (error) {
      throw withoutCommand(error)
    }
  }

  async #watched<T> (operation: () => Promise<T>): Promise<T> {
    try {
      return await this.#within(operation)
    } catch (error) {
      this.#health.failed(error)
      throw error
    }
  }

  #within<T> (operation: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.#deadline.start(reject)
      // In an async function, so that a client that throws at once is a client that rejects.
      const run = async () => operation()
      run().then(resolve, reject).finally(cancel)
    })
  }

  /** One flush to the socket where one node takes all; on a cluster each command goes to the node of its key. */
  async #all (commands: Command[]): Promise<unknown[]> {
    if (!this.#client.isCluster) return this.#pipelined(commands)
    return (await Promise.all(commands.map((command) => this.#pipelined([command])))).flat()
  }

  /** As a pipeline a command keeps out of a cluster client's auto-pipelining, which can take an EVAL's script for its key. */
  async #pipelined (commands: Command[]): Promise<unknown[]> {
    const results = await this.#client.pipeline(commands).exec()
    if (results?.length !== commands.length) throw new TypeError('Redis answered nonsense to a pipeline')
    return results.map(([error, result]) => {
      if (error) throw withoutCommand(error)
      return result
    })
  }

  async #readAll (identities: string[], answer: Answer) {
    try {
      const values = await this.#send(['mget', ...identities.map(this.#keys.revoked)])
      if (!Array.isArray(values) || values.length !== identities.length) throw new TypeError('Redis answered nonsense to MGET')
      for (let i = 0; i < values.length; i++) answer(i, null, values[i])
    } catch (error) {
      for (let i = 0; i < identities.length; i++) answer(i, error)
    }
  }

  async #readEach (identities: string[], answer: Answer) {
    await Promise.all(identities.map(async (identity, i) => {
      try {
        answer(i, null, await this.#send(['get', this.#keys.revoked(identity)]))
      } catch (error) {
        answer(i, error)
      }
    }))
  }
}

/** What the client attaches to its errors ends up in logs: the command with its arguments, a password where that is AUTH. */
function withoutCommand (error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { name, message, stack } = error
  return Object.assign(new Error(message), { name, stack })
}

/** A denial that another service wrote in a form of its own stands as well. */
function parseDenial (value: string): Denial | null {
  try {
    const { at, exp } = JSON.parse(value)
    return typeof at === 'number' ? { at, exp: typeof exp === 'number' ? exp : null } : null
  } catch {
    return null
  }
}

function parseRecord (value: unknown): TokenRecord | null {
  if (value === null) return null
  const record = JSON.parse(String(value))
  if (typeof record?.id !== 'string' || typeof record.jti !== 'string') throw new TypeError('Redis holds no record under the key of a record')
  return record
}

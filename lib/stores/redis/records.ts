import { BadValue, nonsense } from '../../errors.ts'
import type { Clock, Milliseconds, Seconds } from '../../time.ts'
import type { TokenRecord } from '../../types.ts'
import { latestCutoff } from '../entry.ts'
import type { Budget, RecordEntry, Records, SessionEntry } from '../store.ts'
import { longestOf, parseCutoff, ttlArguments } from './answers.ts'
import type { Command, Commands } from './commands.ts'
import type { Probe } from './health.ts'
import type { Keys } from './keys.ts'
import type { Link } from './link.ts'
import { ADD_TOKEN, NAME_RECORD, PAGE } from './record-scripts.ts'

export interface RecordsContext {
  redis: Commands
  link: Link
  keys: Keys
  /** How long a key is kept at most. */
  longest: Seconds | null | undefined
  clock: Clock
  canRead: Probe
  canWrite: Probe
}

/** The history in Redis: records by id, the id that each identity leads to, and the ids of each subject. */
export class RedisRecords implements Records {
  readonly #redis: Commands
  readonly #link: Link
  readonly #keys: Keys
  readonly #longest: Milliseconds | ''
  readonly #clock: Clock
  readonly #canRead: Probe
  readonly #canWrite: Probe

  constructor ({ redis, link, keys, longest, clock, canRead, canWrite }: RecordsContext) {
    this.#redis = redis
    this.#link = link
    this.#keys = keys
    this.#longest = longestOf(longest)
    this.#clock = clock
    this.#canRead = canRead
    this.#canWrite = canWrite
  }

  save (entry: RecordEntry, isFirst = false) {
    return this.#link.run(() => this.#save(entry, isFirst), { needs: this.#canWrite })
  }

  add (entry: RecordEntry) {
    return this.#link.run(() => this.#add(entry), { needs: this.#canWrite })
  }

  byId (id: string, budget?: Budget) {
    return this.#link.run(() => this.#byId(id), { needs: this.#canRead, budget })
  }

  of (identity: string, budget?: Budget) {
    return this.#link.run(async () => {
      const id = await this.#redis.send(['get', this.#keys.id(identity)])
      // Without an id this reads a key that never exists, so that the same commands run (P6).
      return this.#byId(typeof id === 'string' ? id : '')
    }, { needs: this.#canRead, budget })
  }

  async page (subject: string, limit: number, after?: string, now?: Seconds) {
    // No record has an empty id, and to the script it means the first page.
    if (after === '') return { records: [] }
    return this.#link.run(() => this.#page(subject, limit, after, now), { needs: this.#canRead })
  }

  async #save (entry: RecordEntry, isFirst: boolean): Promise<Seconds | null> {
    const { record, identity, subject, others = [], session } = entry
    const end = expireAt(entry)
    const id = this.#keys.id(identity)
    const commands: Command[] = [['set', this.#keys.token(record.id), JSON.stringify(record), ...end]]
    if (session !== undefined) {
      commands.push(...this.namesOfSession(entry, session), this.keepRefresh(session))
    } else {
      commands.push(isFirst ? ['set', id, record.id, ...end] : nameRecord(id, entry))
      if (subject !== undefined) commands.push(this.#addToSubject(entry, subject))
    }
    const cutoffs = subject === undefined ? others : [subject, ...others]
    for (const name of cutoffs) commands.push(['get', this.#keys.of({ kind: 'cutoff', name })])
    const answers = await this.#redis.all(commands)
    const [saved, named] = answers
    if (saved !== 'OK' || typeof named !== 'string') throw nonsense('to a record')
    const read = answers.slice(answers.length - cutoffs.length)
    return read.map(parseCutoff).reduce<Seconds | null>(latestCutoff, null)
  }

  /**
   * Writes the record last. An id without a record was left by a call that failed, and this call reuses it.
   */
  async #add (entry: RecordEntry): Promise<void> {
    const { record, identity, subject } = entry
    const key = this.#keys.id(identity)
    let id = await this.#redis.send(['get', key])
    if (id == null) {
      const claimed = await this.#redis.send(['set', key, record.id, 'NX', ...expireAt(entry)])
      id = claimed === 'OK' ? record.id : await this.#redis.send(['get', key])
    }
    if (id !== record.id) {
      const standing = await this.#byId(String(id))
      if (standing !== null && endsAsLate(standing, record)) return
      if (standing !== null) [id] = await this.#redis.all([nameRecord(key, entry)])
    }
    const own = { ...record, id: String(id) }
    if (subject !== undefined) await this.#redis.all([this.#addToSubject({ ...entry, record: own }, subject)])
    await this.#redis.send(['set', this.#keys.token(own.id), JSON.stringify(own), ...expireAt(entry)])
  }

  async #byId (id: string): Promise<TokenRecord | null> {
    return parseRecord(await this.#redis.send(['get', this.#keys.token(id)]))
  }

  async #page (subject: string, limit: number, after: string | undefined, now: Seconds | undefined) {
    const answer = await this.#redis.eval(PAGE, this.#keys.tokens(subject), limit + 1, after ?? '', now ?? '')
    if (!Array.isArray(answer)) throw nonsense('to a page of records')
    const ids = answer.slice(0, limit).map(String)
    const found = await this.#redis.all(ids.map((id) => ['get', this.#keys.token(id)]))
    const records = found.map(parseRecord).filter((record) => record !== null)
    return { records, ...(answer.length > limit && { after: ids.at(-1)! }) }
  }

  /** Lets whatever names a session lead to its record. */
  namesOfSession (entry: RecordEntry, { name, identityKeptUntil }: SessionEntry): Command[] {
    const { record, identity, subject } = entry
    const commands: Command[] = [
      ['set', this.#keys.id(identity), record.id, ...expireAt({ keptUntil: identityKeptUntil })],
      ['set', this.#keys.id(name), record.id, ...expireAt(entry)]
    ]
    if (subject !== undefined) commands.push(this.#addToSubject(entry, subject))
    return commands
  }

  keepRefresh ({ hash, refresh }: SessionEntry, ...flags: Array<'NX'>): Command {
    return ['set', this.#keys.refresh(hash), JSON.stringify(refresh), ...flags, 'EXAT', refresh.end]
  }

  #addToSubject ({ record, exp, keptUntil }: RecordEntry, subject: string): Command {
    const key = this.#keys.tokens(subject)
    const ttl = ttlArguments(keptUntil, this.#clock.wall())
    return ['eval', ADD_TOKEN, 1, key, record.id, exp ?? '+inf', ...ttl, this.#longest]
  }
}

function nameRecord (key: string, { record, keptUntil }: RecordEntry): Command {
  return ['eval', NAME_RECORD, 1, key, record.id, keptUntil ?? '']
}

function endsAsLate (standing: TokenRecord, record: TokenRecord): boolean {
  if (standing.expiresAt === null) return true
  return record.expiresAt !== null && Date.parse(standing.expiresAt) >= Date.parse(record.expiresAt)
}

function expireAt ({ keptUntil }: Pick<RecordEntry, 'keptUntil'>): [] | ['EXAT', Seconds] {
  return keptUntil === null ? [] : ['EXAT', keptUntil]
}

/** Reads the value of a record's key; null: there is no key. @throws BadValue */
function parseRecord (value: unknown): TokenRecord | null {
  if (value === null) return null
  const record = parsed(String(value))
  const { id, jti, sid, sub, claims } = record ?? {}
  // A record without a jti has another name.
  const isNamed = typeof jti === 'string' ||
    (jti === undefined && (typeof (sid ?? sub) === 'string' || typeof claims === 'object'))
  if (typeof id !== 'string' || !isNamed) {
    throw new BadValue('Redis holds no record under the key of a record')
  }
  return record as TokenRecord
}

function parsed (json: string): Partial<TokenRecord> | null {
  try {
    return JSON.parse(json)
  } catch {
    return null
  }
}

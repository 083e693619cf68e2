import { BadValue, nonsense } from '../../errors.ts'
import { withoutClaims, type Found, type Refresh, type RefreshState, type SpentRefresh } from '../refresh.ts'
import type { Budget, RecordEntry, Refreshes, SessionEntry, SpendOptions } from '../store.ts'
import type { Command, Commands } from './commands.ts'
import type { Probe } from './health.ts'
import type { Keys } from './keys.ts'
import type { Link } from './link.ts'
import type { RedisRecords } from './records.ts'
import { END_SESSION, SAVE_SESSION, SETTLE_REFRESH, USE_REFRESH } from './refresh-scripts.ts'
import type { Writer } from './writer.ts'

export interface RefreshesContext {
  redis: Commands
  link: Link
  keys: Keys
  writer: Writer
  records: RedisRecords
  canWrite: Probe
}

const STATES: readonly unknown[] = ['fresh', 'again', 'exhausted', 'reused'] satisfies RefreshState[]

/** Refresh tokens in Redis, each under its hash. */
export class RedisRefreshes implements Refreshes {
  readonly #redis: Commands
  readonly #link: Link
  readonly #keys: Keys
  readonly #writer: Writer
  readonly #records: RedisRecords
  readonly #canWrite: Probe

  constructor ({ redis, link, keys, writer, records, canWrite }: RefreshesContext) {
    this.#redis = redis
    this.#link = link
    this.#keys = keys
    this.#writer = writer
    this.#records = records
    this.#canWrite = canWrite
  }

  look (hash: string, { grace, budget }: SpendOptions) {
    return this.#run(budget, async () => {
      return foundOf<Refresh>(await this.#redis.eval(USE_REFRESH, this.#keys.refresh(hash), '', grace, ''))
    })
  }

  spend (hash: string, key: string, { grace, since, budget }: SpendOptions) {
    return this.#run(budget, async () => {
      const use: Command = ['eval', USE_REFRESH, 1, this.#keys.refresh(hash), key, grace, since ?? '']
      const [answer] = await this.#writer.writeAll([use])
      return foundOf<SpentRefresh>(answer)
    })
  }

  renew (entry: RecordEntry & { session: SessionEntry }, budget: Budget) {
    return this.#run(budget, async () => {
      const { record, session, keptUntil } = entry
      const key = this.#keys.token(record.id)
      // No session is kept for ever.
      const save: Command = ['eval', SAVE_SESSION, 1, key, JSON.stringify(record), keptUntil!]
      const [saved, ...answers] = await this.#writer.writeAll([
        save,
        ...this.#records.namesOfSession(entry, session),
        // Last: on one node whatever leads to the session is written before its refresh token is.
        this.#records.keepRefresh(session, 'NX')
      ])
      const kept = answers.at(-1)
      if (kept !== 'OK' && kept !== null) throw nonsense('to a refresh token')
      // Some clients give numbers as strings.
      return Number(saved) === 1
    })
  }

  settle (hash: string, spent: SpentRefresh, budget: Budget) {
    return this.#run(budget, async () => {
      const { used, uses, key, ...rest } = withoutClaims(spent)
      await this.#redis.eval(SETTLE_REFRESH, this.#keys.refresh(hash), JSON.stringify(rest).slice(1))
    })
  }

  end (id: string, endedAt: string, budget: Budget) {
    return this.#run(budget, async () => {
      await this.#redis.eval(END_SESSION, this.#keys.token(id), endedAt)
    })
  }

  #run<T> (budget: Budget, operation: () => Promise<T>): Promise<T> {
    return this.#link.run(operation, { needs: this.#canWrite, budget })
  }
}

/** Reads what USE_REFRESH answers. */
function foundOf<R extends Refresh> (answer: unknown): Found<R> | null {
  if (answer === null) return null
  const [state, value, now] = Array.isArray(answer) ? answer : []
  const time = Number(now ?? NaN)
  // The grace is counted from this time: without one it would never pass.
  const isAnswer = STATES.includes(state) && typeof value === 'string' && time > 0
  if (!isAnswer) throw nonsense('to a refresh token')
  return { state, refresh: parseRefresh(value) as R, now: time }
}

/** @throws BadValue */
function parseRefresh (json: string): Refresh {
  try {
    const refresh: Refresh = JSON.parse(json)
    const { sid, id, iat, end } = refresh
    const isRefresh = typeof sid === 'string' && typeof id === 'string' && Number.isFinite(iat)
    if (isRefresh && Number.isFinite(end)) return refresh
  } catch {}
  throw new BadValue('Redis holds no refresh token under the key of one')
}

import { Redis } from 'ioredis'
import fc from 'fast-check'
import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RevocationContext } from '../../lib/domain/decorator.ts'
import type { CheckCallback, Store } from '../../lib/stores/store.ts'
import { MemoryStore } from '../../lib/stores/memory.ts'
import type { Names } from '../../lib/domain/names.ts'
import { systemClock } from '../../lib/time.ts'
import type { RedisClient } from '../../lib/types.ts'
import { ownPrefix } from '../support/app.ts'
import { buildDomain, RULES, SharedClock, type Clock } from '../support/domain.ts'
import { startRedis } from '../support/redis.ts'
import { runs } from '../support/runs.ts'
import { rounds, SessionModel } from '../support/session-model.ts'
import { redisStore } from '../support/stores.ts'

/*
 * Goal: never two live families of tokens from one login, never a live token after the acknowledged end of its session,
 * never a refused refresh that the rules allow.
 * Method: random histories, against a model. What happens at once is cut into the steps of the store, or the commands of
 * Redis, and those run in a random order. The clock of the second process may be ahead.
 */

const DAY = 24 * 3600
const LIFETIME = 30 * DAY

const domainOptions = (grace: number): Pick<RevocationContext, 'rules' | 'refresh'> => ({
  rules: {
    ...RULES,
    claims: { jti: 'jti', sub: 'sub', sid: 'sid' },
    revocableBy: ['tenant'],
    sidless: true,
    refreshLifetime: LIFETIME
  },
  refresh: { expiresIn: LIFETIME, grace }
})

/** What is done in turns that others may take before. */
class Steps {
  scheduler: fc.Scheduler | undefined
  readonly step = async () => { await this.scheduler?.schedule(Promise.resolve()) }
  interleave (scheduler: fc.Scheduler, all: () => Promise<unknown>) {
    this.scheduler = scheduler
    return scheduler.waitFor(all().finally(() => { this.scheduler = undefined }))
  }
}

/** A store each of whose calls, and of whose answers, is a step. */
function inSteps (store: MemoryStore, step: () => Promise<void>): Store {
  const inTurns = <T extends object>(of: T): T => new Proxy(of, {
    get (target, name) {
      const member = Reflect.get(target, name, target)
      if (typeof member !== 'function') return member
      if (String(name).startsWith('check')) {
        return async (names: Names, done: CheckCallback) => {
          await step()
          let answer: Parameters<CheckCallback>
          member.call(target, names, (...args: Parameters<CheckCallback>) => { answer = args })
          await step()
          done(...answer!)
        }
      }
      return async (...args: unknown[]) => {
        await step()
        const answer = await member.apply(target, args)
        await step()
        return answer
      }
    }
  })
  const [denials, records, refreshes] = [inTurns(store.denials), inTurns(store.records), inTurns(store.refreshes)]
  return new Proxy(store, {
    get (target, name) {
      const own = { denials, records, refreshes }
      if (name in own) return own[name as keyof typeof own]
      const member = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    }
  }) as unknown as Store
}

/** A client each of whose commands, and of whose answers, is a step. */
function clientInSteps (client: RedisClient, step: () => Promise<void>): RedisClient {
  const inTurns = async <T>(act: () => Promise<T>): Promise<T> => {
    await step()
    const answer = await act()
    await step()
    return answer
  }
  return {
    isCluster: false,
    call: (...command: Parameters<RedisClient['call']>) => inTurns(() => client.call(...command)),
    pipeline: (commands: unknown[][]) => ({ exec: () => inTurns(() => client.pipeline(commands).exec()) })
  } as RedisClient
}

const total = { rounds: 0, refreshed: 0, refused: 0, reused: 0, ended: 0 }
const count = ({ counts }: SessionModel) => {
  for (const [name, n] of Object.entries(counts)) total[name as keyof typeof total] += n
}

t.test('random histories of sessions, on memory, with every order of the steps of what happens at once', async (t) => {
  const grace = 10_000
  const times = [0, 1, 500, 1000, 5000, grace - 5, grace + 5, grace + 5, grace + 5, 3_600_000, 5 * DAY * 1000, 29 * DAY * 1000]
  await fc.assert(fc.asyncProperty(rounds(times, 12), fc.constantFrom(0, 3000), fc.scheduler(), async (history, ahead, scheduler) => {
    const clock = new SharedClock()
    const other = new SharedClock(clock.now + ahead)
    for (const one of [clock, other]) one.clocks = [clock, other]
    const store = new MemoryStore({ clock })
    const steps = new Steps()
    const shared = inSteps(store, steps.step)
    const model = new SessionModel({
      domains: [clock, other].map((clock) => buildDomain({ ...domainOptions(grace), store: shared, clock })),
      clock,
      isSkewed: ahead > 0,
      grace,
      now: async () => clock.now,
      pass: clock.sleep,
      interleave: (act) => steps.interleave(scheduler, act),
      step: steps.step,
      async unused () {
        const unused = new Map<string, number>()
        for (const [, { value }] of store.refreshes.kept.entries()) {
          if (!('used' in value)) unused.set(value.sid, (unused.get(value.sid) ?? 0) + 1)
        }
        return unused
      }
    })
    for (const round of history) await model.round(round)
    count(model)
  }), { numRuns: runs(400) })
  t.comment(JSON.stringify(total))
  t.ok(Math.min(...Object.values(total)) > 0, 'everything happened', total)
})

t.test('random histories of sessions, on Redis, with every order of the commands of what happens at once', async (t) => {
  const server = await startRedis(t)
  const client = new Redis(server.url)
  t.teardown(() => client.disconnect())
  const grace = 400
  const now = async () => {
    const [seconds, micros] = await client.time() as unknown as [string, string]
    return Number(seconds) * 1000 + Number(micros) / 1000
  }
  await fc.assert(fc.asyncProperty(rounds([0, 0, grace + 5], 6), fc.scheduler(), async (history, scheduler) => {
    const keyPrefix = ownPrefix()
    const steps = new Steps()
    const context = { clock: systemClock, onLost (error: unknown) { throw error }, onBack () {} }
    const domains = Array.from({ length: 2 }, () => buildDomain({
      ...domainOptions(grace),
      store: redisStore(clientInSteps(client as RedisClient, steps.step), { keyPrefix, storeTimeout: 20_000, logSpan: 4000, minReplicas: 0 }, context),
      clock: systemClock as unknown as Clock
    }))
    const model = new SessionModel({
      domains,
      clock: systemClock,
      isSkewed: false,
      grace,
      now,
      async pass (time) {
        const until = await now() + time
        while (await now() < until) await sleep(Math.min(time, 50))
      },
      interleave: (act) => steps.interleave(scheduler, act),
      step: steps.step,
      async unused () {
        const unused = new Map<string, number>()
        for (const key of await server.keys(`${keyPrefix}refresh:*`)) {
          const { used, sid } = JSON.parse(await client.get(key) ?? '{}')
          if (used === undefined) unused.set(sid, (unused.get(sid) ?? 0) + 1)
        }
        return unused
      }
    })
    for (const round of history) await model.round(round)
    count(model)
  }), { numRuns: runs(20) })
  t.comment(JSON.stringify(total))
})

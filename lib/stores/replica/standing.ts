import { nonsense } from '../../errors.ts'
import type { Entry } from '../entry.ts'
import type { Command } from '../redis/commands.ts'
import { keysUnder } from '../redis/keys.ts'
import { entryOf, type Scan } from './scan.ts'

/** How many cutoffs one page has. */
const PAGE = 500

/**
 * Reads the cutoffs that are named as standing, the last to end first. So names that are added or trimmed
 * meanwhile make this read some twice, and miss none.
 */
export async function * readStanding ({ redis, keyPrefix, within, now }: Scan): AsyncGenerator<Entry[]> {
  const keys = keysUnder(keyPrefix)
  for (let first = 0; ; first += PAGE) {
    const names = await within(() => redis.send(['zrevrange', keys.standing, first, first + PAGE - 1]))
    if (!Array.isArray(names)) throw nonsense('about standing cutoffs')
    const found = await within(() => redis.all(names.flatMap((name): Command[] => {
      const key = keys.of({ kind: 'cutoff', name })
      return [['get', key], ['pttl', key]]
    })))
    const entries = names.map((name, i) => {
      return entryOf('cutoff', name, found[2 * i], Number(found[2 * i + 1]), now())
    })
    yield entries.filter((entry) => entry !== null)
    if (names.length < PAGE) return
  }
}

import type { RedisClient } from '../../types.ts'

const SLOTS = 16_384

/** The cluster answers, but a walk over the keys of its masters could miss some. */
export class SlotsMove extends Error {}

type Within = <T>(call: () => Promise<T>) => Promise<T>

/**
 * Which slots each of these masters says it has. Rejects unless every slot has one master, and while a slot
 * moves from one master to another.
 */
export async function slotsOf (masters: RedisClient[], within: Within): Promise<string> {
  const answers = await Promise.all(masters.map((master) => within(() => master.call('cluster', 'nodes'))))
  const lines = answers.map(ownLine)
  const owners = new Uint8Array(SLOTS)
  for (const { slots } of lines) {
    for (const words of slots) {
      // A slot that moves is written [slot->-target] or [slot-<-source].
      if (words.startsWith('[')) throw new SlotsMove(`slots of the cluster are moving: ${words}`)
      const [first = NaN, last = first] = words.split('-').map(Number)
      for (let slot = first; slot <= last; slot++) owners[slot]!++
    }
  }
  const odd = owners.findIndex((count) => count !== 1)
  if (odd >= 0) throw new SlotsMove(`${owners[odd]} of the cluster's masters say that they have slot ${odd}`)
  return lines.map(({ id, epoch, slots }) => [id, epoch, ...slots].join(' ')).sort().join('\n')
}

/** What a node says of itself. Its line has id, address, flags, master, ping, pong, epoch, link and slots. */
function ownLine (answer: unknown) {
  const line = String(answer).split('\n').find((line) => line.split(' ')[2]?.split(',').includes('myself'))
  if (line === undefined) throw new TypeError('Redis answered nonsense about the cluster')
  const [id, , , , , , epoch, , ...slots] = line.trim().split(' ')
  return { id, epoch, slots }
}

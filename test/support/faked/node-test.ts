import { mock, test } from 'node:test'
import { scenes } from './scenes.ts'

const fakes = {
  begin: (now = Date.now()) => { mock.timers.enable({ apis: ['setInterval', 'setTimeout', 'setImmediate', 'Date'], now }) },
  end: () => { mock.timers.reset() }
}

for (const [name, play] of Object.entries(scenes(process.env.REDIS_URL!, fakes))) test(name, { timeout: 20_000 }, play)

import { execFile } from 'node:child_process'
import t from 'tap'
import { bareEnv } from '../child.ts'
import { startRedis } from '../redis.ts'

/** A test framework plays all scenes under its own fake timers. */
export function played (name: string, [file, args]: [file: string, args: string[]]) {
  t.test(`P4 the fake timers of ${name} keep no request from its answer, and its date is the plugin's`, async (t) => {
    const { url } = await startRedis(t)
    const { code, output } = await new Promise<{ code: unknown, output: string }>((resolve) => {
      execFile(file, args, { env: bareEnv({ REDIS_URL: url, NO_COLOR: '1' }), timeout: 60_000 }, (error, stdout, stderr) => {
        resolve({ code: error?.code ?? 0, output: stdout + stderr })
      })
    })
    t.equal(code, 0, output)
    // Node.js 24 reports otherwise than 20.
    t.equal(output.match(/^(?:ok \d|✔ )/gm)?.length, 4, 'each scene was played')
  })
}

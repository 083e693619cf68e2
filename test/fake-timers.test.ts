import { execFile } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { bareEnv, node, program } from './support/child.ts'
import { startRedis } from './support/redis.ts'

const FOLDER = join(import.meta.dirname, 'support', 'faked')
const VITEST = join(import.meta.dirname, '..', 'node_modules', 'vitest', 'vitest.mjs')

const RUNS: Record<string, [file: string, args: string[]]> = {
  'node:test': program(join(FOLDER, 'node-test.ts')),
  vitest: node(VITEST, 'run', `--root=${FOLDER}`, '--testTimeout=30000', '--reporter=tap-flat')
}

for (const [name, [file, args]] of Object.entries(RUNS)) {
  t.test(`P4 the fake timers of ${name} keep no request from its answer, and its date is the plugin's`, async (t) => {
    const { url } = await startRedis(t)
    const { code, output } = await new Promise<{ code: unknown, output: string }>((resolve) => {
      execFile(file, args, { env: bareEnv({ REDIS_URL: url, NO_COLOR: '1' }), timeout: 60_000 }, (error, stdout, stderr) => {
        resolve({ code: error?.code ?? 0, output: stdout + stderr })
      })
    })
    t.equal(code, 0, output)
    t.equal(output.match(/^ok \d/gm)?.length, 4, 'each scene was played')
  })
}

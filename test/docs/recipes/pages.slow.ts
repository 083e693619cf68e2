import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { bareEnv, node } from '../../support/child.ts'
import { filesOf, mistakesIn, place } from '../../support/snippets.ts'

/* The pages in docs/recipes as a whole. The files beside this one run what each says, and what it says goes wrong otherwise. */

const ROOT = join(import.meta.dirname, '..', '..', '..')
const FOLDER = join(ROOT, 'docs', 'recipes')
const pages = (await readdir(FOLDER)).filter((name) => name !== 'README.md').sort()

t.test('each snippet compiles', async (t) => {
  const files: string[] = []
  for (const page of pages) {
    const placed = await filesOf(`docs/recipes/${page}`)
    if (Object.keys(placed).length === 0 || page === 'nestjs.md') continue
    const dir = await place(t, placed)
    files.push(...Object.keys(placed).map((name) => join(dir, name)))
  }
  t.strictSame(await mistakesIn(files), [])
})

t.test('an application is tested with node:test and with Vitest, without Redis and under fake timers', async (t) => {
  const dir = await place(t, await filesOf('docs/recipes/testing.md'))
  const runs: Array<{ name: string, command: [file: string, args: string[]], tests: number }> = [
    { name: 'node:test', command: node('--import', 'tsx', '--test', '--test-reporter=tap', join(dir, 'app.test.ts')), tests: 3 },
    { name: 'Vitest', command: node(join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', `--root=${dir}`, '--exclude=*.test.ts', '--reporter=tap-flat'), tests: 1 }
  ]
  for (const { name, command: [file, args], tests } of runs) {
    const { code = 0, stdout, stderr } = await promisify(execFile)(file, args, { cwd: dir, env: bareEnv({ NO_COLOR: '1' }) }).catch((error) => error)
    t.equal(code, 0, name, { output: stdout + stderr })
    t.equal(stdout.match(/^ *ok \d/gm)?.length, tests, `${name} has run each test`, { output: stdout })
  }
})

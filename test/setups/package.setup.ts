import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { FOLDER, run } from './support.ts'

const tarball = join(FOLDER, (await readdir(FOLDER)).find((name) => name.endsWith('.tgz'))!)

t.test('Are the types wrong? They are not', async (t) => {
  const { code, output } = await run(FOLDER, 'attw', [tarball, '--profile', 'esm-only', '--format', 'json'])
  t.equal(code, 0, 'nothing is wrong', { output })
  const { analysis, problems } = JSON.parse(output)
  t.same(Object.keys(problems).filter((kind) => kind !== 'CJSResolvesToESM'), [], 'but that there is no CommonJS')
  t.equal(analysis.types.kind, 'included')
})

t.test('publint has nothing to say of the tarball', async (t) => {
  const { code, output } = await run(FOLDER, 'publint', ['--strict', tarball])
  t.equal(code, 0)
  t.match(output, /All good!/)
})

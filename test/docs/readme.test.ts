import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import * as errors from '../../lib/errors.ts'
import { resolveOptions } from '../../lib/options.ts'

const readme = await readFile(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8')

t.test('the README names every option and every error', async (t) => {
  const message = (() => {
    try {
      resolveOptions({ nonsense: true } as object)
    } catch (error) {
      return (error as Error).message
    }
  })()
  const options = message!.split('the options are ')[1]!.split(', ')
  t.ok(options.length > 10)
  const tables = readme.split('\n').filter((line) => line.startsWith('| `'))
  for (const name of [...options, ...Object.keys(errors).filter((name) => name.startsWith('FST_'))]) t.ok(tables.some((row) => row.startsWith(`| \`${name}\``)), name)
})

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'

/* The files beside this one run what each page says. */

const FOLDER = join(import.meta.dirname, '..', '..', '..', 'docs', 'recipes')
const pages = (await readdir(FOLDER)).filter((name) => name !== 'README.md').sort()

t.test('the index names each page once', async (t) => {
  const index = await readFile(join(FOLDER, 'README.md'), 'utf8')
  const named = [...index.matchAll(/^\| \[.*?\]\((.*?)\) \|/gm)].map(([, page]) => page)
  t.strictSame(named.sort(), pages)
})

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '..', '..')
const page = readFileSync(join(ROOT, 'docs', 'architecture.md'), 'utf8')
const map = page.slice(page.indexOf('## File map'), page.indexOf('## Three paths'))

t.test('the file map names each file of lib once, in the table of its folder', async (t) => {
  const named = map.split(/^\| file/m).slice(1).flatMap((table) => {
    const [, folder = ''] = /^ of `(.*?)`/.exec(table) ?? []
    const cells = [...table.matchAll(/^\| (`.*?) \|/gm)].map(([, cell]) => cell!)
    return cells.flatMap((cell) => [...cell.matchAll(/`(.*?)`/g)].map(([, name]) => folder + name))
  })
  const files = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).map((file) => file.replaceAll('\\', '/'))
  t.strictSame(named.sort(), files.filter((file) => file.endsWith('.ts')).sort())
})

t.test('each link of a page leads to a file, and to a heading of it', async (t) => {
  const pages = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'docs/architecture.md', 'docs/operations.md', 'docs/benchmarks.md']
  const recipes = readdirSync(join(ROOT, 'docs', 'recipes')).map((name) => `docs/recipes/${name}`)
  for (const from of [...pages, ...recipes]) {
    const text = withoutCode(readFileSync(join(ROOT, from), 'utf8'))
    for (const [, link = ''] of text.matchAll(/\]\((?!https?:)([^)]*)\)/g)) {
      const [path = '', heading] = link.split('#')
      const to = path === '' ? join(ROOT, from) : join(ROOT, from, '..', path)
      if (heading === undefined) t.doesNotThrow(() => readFileSync(to), `${from}: ${link}`)
      else t.ok(headingsOf(readFileSync(to, 'utf8')).includes(heading), `${from}: ${link}`)
    }
  }
})

function withoutCode (markdown: string): string {
  return markdown.replaceAll(/^ *```.*?^ *```/gms, '')
}

/** What GitHub calls the headings of a page. */
function headingsOf (markdown: string): string[] {
  return [...withoutCode(markdown).matchAll(/^#+ (.*)$/gm)]
    .map(([, heading = '']) => heading.toLowerCase().replaceAll(/[^\w\- ]/g, '').replaceAll(' ', '-'))
}

import t from 'tap'
import { tryBundle } from './bundle.ts'
import { shell } from './support.ts'

t.test('a minified bundle of ncc starts, and refuses what was revoked', async (t) => {
  await tryBundle(t, async (dir, commands) => {
    const line = commands.find((line) => line.includes('ncc'))!
    t.match(line, /--minify/)
    const { code, output } = await shell(dir, line)
    t.equal(code, 0, 'it is bundled', { output })
    return `${/--out (\S+)/.exec(line)![1]!}/index.js`
  })
})

import t from 'tap'
import { tryBundle } from './bundle.ts'
import { shell } from './support.ts'

for (const format of ['cjs', 'esm']) {
  t.test(`a minified ${format} bundle of esbuild starts, and refuses what was revoked`, async (t) => {
    await tryBundle(t, async (dir, commands) => {
      const line = commands.find((line) => line.includes('esbuild') && line.includes(`--format=${format}`))!
      t.match(line, /--minify/)
      const { code, output } = await shell(dir, line)
      t.equal(code, 0, 'it is bundled', { output })
      return /--outfile=(\S+)/.exec(line)![1]!
    })
  })
}

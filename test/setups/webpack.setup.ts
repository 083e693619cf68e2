import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { tryBundle } from './bundle.ts'
import { run } from './support.ts'

// What webpack-cli does, of which there is none for Node.js 20.
const BUILD = `
import webpack from 'webpack'
import config from './webpack.config.js'
webpack(config, (error, stats) => {
  if (error || stats.hasErrors() || stats.hasWarnings()) process.exitCode = 1
  console.log(String(error ?? stats))
})
`

t.test('a production bundle of webpack starts, and refuses what was revoked', async (t) => {
  await tryBundle(t, async (dir) => {
    await writeFile(join(dir, 'build.js'), BUILD)
    const { code, output } = await run(dir, process.execPath, ['build.js'])
    t.equal(code, 0, 'it is bundled, without a warning', { output })
    return 'dist/webpack.cjs'
  })
})

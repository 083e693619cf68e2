import t from 'tap'
import { PATIENT_JEST, place, recipe, run } from './support.ts'

t.test('Jest in CommonJS requires the plugin, as the recipe says', async (t) => {
  const { files } = await recipe('jest')
  const dir = await place(t, { ...files, 'package.json': '{}' })
  const { code, output } = await run(dir, 'jest', PATIENT_JEST)
  t.equal(code, 0, 'the test of the recipe passes', { output })
  t.match(output, /Tests: +1 passed, 1 total/)
})

t.test('Node.js requires the plugin in CommonJS, beside an import of it: it is one and the same', async (t) => {
  const dir = await place(t, {
    'package.json': '{}',
    'app.js': `
      const required = require('fastify-jwt-revocation')
      import('fastify-jwt-revocation').then((imported) => console.log(required.default === imported.default, required.FST_JWT_REVOKED === imported.FST_JWT_REVOKED))
    `
  })
  const { code, output } = await run(dir, process.execPath, ['--no-warnings', 'app.js'])
  t.strictSame({ code, output: output.trim() }, { code: 0, output: 'true true' })
})

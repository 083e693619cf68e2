const { register } = require('node:module')
const { pathToFileURL } = require('node:url')

/*
 * What runs TypeScript in the tests and in the processes that they start: `node --require` of this file. Not --import,
 * whose hooks would come behind those of tap, which have to see the JavaScript for the coverage.
 */
register('./transpile.js', pathToFileURL(__filename))

/*
 * Before tap, with `node --import`: what a process says goes out ten times a second. Line by line, each assertion would
 * take a call of the system here and one of test/run.js.
 */
const { stdout } = process
const write = stdout.write.bind(stdout)
let text = ''

stdout.write = (chunk, encoding, done = encoding) => {
  text += chunk
  if (typeof done === 'function') process.nextTick(done)
  return true
}

function flush () {
  if (text !== '') write(text)
  text = ''
}

setInterval(flush, 100).unref()
process.on('exit', () => {
  flush()
  stdout.write = write
})

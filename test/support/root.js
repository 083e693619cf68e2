import tap from '../../.tap/bundled/node_modules/@tapjs/all/index.js'

/*
 * What a test file gets as `tap`, once it is JavaScript: tap's own root. Where several files share a process, each gets
 * a test of its own instead, because a root waits for no teardown between two files.
 */

let root = tap
export { root as default }

/** From now on, a file's `t` is this one: a module reads what another one exports when it uses it. */
export function setRoot (t) {
  root = t
}

#!/usr/bin/env node
// check.mjs plain|tls ANSWERS.jsonl [--brief]: compares a server's answers with EventStoreDB's (recorded/) and prints the differences by
// their cause (causes.mjs). An answer that Life keeps is right as long as it is the one in recorded/kept-*.jsonl; the words of messages
// never count. Exit status 1 when anything differs.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { rules, causes } from './causes.mjs'

const [mode, file, ...more] = process.argv.slice(2)
if (!['plain', 'tls'].includes(mode) || !file) {
  console.error('usage: node check.mjs plain|tls ANSWERS.jsonl [--brief]')
  process.exit(2)
}
const brief = more.includes('--brief')
const recorded = path.join(path.dirname(fileURLToPath(import.meta.url)), 'recorded')
const load = (f) => new Map(fs.readFileSync(f, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l)).map((c) => [c.name, c]))
const real = load(path.join(recorded, `${mode}.jsonl`))
const kept = load(path.join(recorded, `kept-${mode}.jsonl`))
const ours = load(file)

const wordKeys = new Set(['message', 'reason'])
/** plain leaves out words, and of data that are JSON blanks and the order of keys. */
const plain = (v, key) => {
  if (wordKeys.has(key)) return ''
  if (typeof v === 'string' && v.startsWith('{')) {
    try { return JSON.stringify(plain(JSON.parse(v))) } catch { return v }
  }
  if (Array.isArray(v)) return v.map((x) => plain(x))
  return v && typeof v === 'object' ? Object.fromEntries(Object.keys(v).sort().map((k) => [k, plain(v[k], k)])) : v
}
const text = (v) => (v === undefined ? '(nothing)' : JSON.stringify(v))
function* differences(x, y, at = '') {
  if (text(x) === text(y)) return
  const both = (p) => x && y && typeof x === 'object' && typeof y === 'object' && Array.isArray(x) === p && Array.isArray(y) === p
  if (both(true)) {
    for (let i = 0; i < Math.max(x.length, y.length); i++) yield* differences(x[i], y[i], `${at}[${i}]`)
  } else if (both(false)) {
    for (const k of new Set([...Object.keys(x), ...Object.keys(y)])) yield* differences(x[k], y[k], at ? `${at}.${k}` : k)
  } else yield [at, x, y]
}
const cut = (s) => (s.length > 240 ? `${s.slice(0, 240)}…` : s)

const found = new Map() // cause: lines
let same = 0
let stays = 0
const note = (cause, line) => found.set(cause, [...(found.get(cause) ?? []), line])
for (const [name, want] of real) {
  const got = ours.get(name)
  if (!got) {
    note('no answer', `  ${name}`)
    continue
  }
  const all = [...differences(plain(got.result), plain(want.result))]
  if (!all.length) {
    same++
    continue
  }
  const stay = new Map(kept.has(name) ? [...differences(plain(kept.get(name).result), plain(want.result))].map(([at, x]) => [at, text(x)]) : [])
  let open = 0
  for (const [at, x, y] of all) {
    const cause = rules.find(([, test]) => test(name, at, x, y))?.[0] ?? 'unknown'
    if (causes[cause]?.[0] === 'noise' || (causes[cause]?.[0] === 'keep' && stay.get(at) === text(x))) continue
    if (++open <= 12) note(cause, `  ${name}: ${at}\n      got  ${cut(text(x))}\n      want ${cut(text(y))}`)
  }
  if (!open) stays++
}
const order = [...Object.keys(causes), 'no answer', 'unknown']
for (const cause of [...found.keys()].sort((a, b) => order.indexOf(a) - order.indexOf(b))) {
  const lines = found.get(cause)
  console.log(`${cause}${causes[cause] ? ` (${causes[cause][1]})` : ''}: ${lines.length}`)
  if (!brief) console.log(lines.join('\n'))
}
const names = new Set([...found.values()].flat().map((l) => l.trim().split(/: \[|\n/)[0]))
console.log(`${real.size} cases: ${same} the same, ${stays} kept, ${names.size} otherwise`)
process.exitCode = found.size ? 1 : 0

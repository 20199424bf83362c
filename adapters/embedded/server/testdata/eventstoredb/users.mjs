#!/usr/bin/env node
// users.mjs URL --tls-ca FILE --user admin --password WORD --add NAME:WORD: makes a user without groups, for run.mjs --plain.
import fs from 'node:fs'
import { parseArgs } from 'node:util'
import { Caller } from './lib/call.mjs'

const { values: flags, positionals } = parseArgs({ allowPositionals: true, options: { 'tls-ca': { type: 'string' }, user: { type: 'string' }, password: { type: 'string' }, add: { type: 'string' } } })
const [name, ...word] = (flags.add ?? '').split(':')
if (!positionals[0] || !name || word.length === 0) {
  console.error('usage: node users.mjs URL --tls-ca FILE --user NAME --password WORD --add NAME:WORD')
  process.exit(2)
}
const caller = new Caller(positionals[0].replace(/^\w+:\/\//, '').replace(/\/.*$/, ''), flags['tls-ca'] ? fs.readFileSync(flags['tls-ca']) : undefined)
const call = caller.open('UserCreate', { credentials: `${flags.user}:${flags.password}` })
call.send({ options: { loginName: name, password: word.join(':'), fullName: name, groups: [] } }).end()
await call.finished()
console.log(call.status.code, call.status.message)
process.exit(call.status.code === 'OK' ? 0 : 1)

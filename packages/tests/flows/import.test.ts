import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { AuthError, createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import { expect, test, vi } from 'vitest'
import { readForeignHash } from '../../server/src/foreign-hashes.ts'
import { CLI, cli, start, temporaryDirectory } from '../support/process.ts'

// Each test starts the command several times, which takes long where the machine is busy.
vi.setConfig({ testTimeout: 90_000 })

const PASSWORD = 'correct horse battery'

// Made by the libraries themselves, of the password above.
const HASHES = [
  [
    'Werkzeug 3',
    'scrypt:32768:8:1$JhZNYXeUfjzXk0Mp$3d749cc9cab7330aad4bda6b8723ad50f61576a613425b9b87fefcb84a0a5225d13174eb954066bc392089c0ded5b0cced696019c5cd8a13621d054c5a1039b5',
  ],
  ['Werkzeug 3', 'pbkdf2:sha256:10000$8iaeHOXnUcLJOJ7O$360a5bf38e3ea3f64b64ff9ffb24c4f106c80250e47c86cb643804fec4b5949c'],
  ['Werkzeug 3', 'pbkdf2:sha1:5000$iNIu9WSbydi6P7Ig$a7fade714b213e64438afed79851fa5f4003fad6'],
  [
    'Werkzeug 3',
    'pbkdf2:sha512:1000000$weYtFo2ve6PXBOGP$a693074f59f809b4ca441e242dc68054559bee3717ed12c7c19debcfb5adb89d97e5b2d9aab1c341c12be67274d428a7bd5a7920cbfe0cb7a0aebf39204a6a4a',
  ],
  ['Django', 'pbkdf2_sha256$260000$KuiVKqYN2iLGDJ4arDAXWd$ubrZjTpF7ZH5J2syQFvTrxActbSwF5LN0Me3IPhxefs='],
  ['Django', 'pbkdf2_sha1$260000$P8oB1bux7nIYvKECLuQ0XG$dpntuUZi1HEX6W7UsPhWNBfIBfM='],
  ['Django', 'bcrypt_sha256$$2b$12$qi62I.fxlj42oWYjLglToe8vtxtZOmKyRr5fpWfNMPmQwOA94vFZe'],
  ['Django', 'bcrypt$$2b$12$B/4TUiGt6quaKIj7TuUUQ.Fgeydqs4cQyyTEqemfFa1vEBoURWLxK'],
  ['Django', 'argon2$argon2id$v=19$m=102400,t=2,p=8$d0htNXZFS3dLbDBER3VsWlE3VU9ycg$AZVEaTUI899fE0uULGDOBg'],
  ['passlib', '$scrypt$ln=14,r=8,p=1$l1IqBWAM4Ryj1Lr3XquV8g$NNvXK0ZPWHE0TvjfG6d/+bWFx6tAMb36D7XsXQZSR08'],
  ['passlib', '$2b$12$DuV3KUQDbyAYJ6G2GHdZwebM/yc04UQy7AY9..ScUht2W9r9NzQFW'],
  ['passlib', '$argon2id$v=19$m=102400,t=2,p=8$0loLgTAGQKhV6v0/p9RaCw$9cormaOCja7xM3gAFEhbXA'],
  ['htpasswd', '$2y$05$KJdpJHHMOv0KdhL77IoG.uTdbB8hTm7N8N6oEUlCkubiUcLIiJrbC'],
] as const

test.each(HASHES)('a hash made by %s is verified, and for this password alone: %s', async (_library, hash) => {
  const foreign = readForeignHash(hash)
  if (typeof foreign === 'string') throw new Error(foreign)
  expect(await foreign.verify(PASSWORD)).toBe(true)
  expect(await foreign.verify(`${PASSWORD} `)).toBe(false)
})

test.each([
  ['5f4dcc3b5aa765d61d8327deb882cf99', 'plain digest'],
  ['$apr1$MkULKXZy$vFJUWignDhJCXGM1gB01j.', 'plain digest'],
  ['{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=', 'plain digest'],
  ['md5$salt$5f4dcc3b5aa765d61d8327deb882cf99', 'plain digest'],
  ['pbkdf2:sha256:900000000$salt$0a0f6bb3c9a0bd87de59903ca7a4c55652e9ba92', 'costs more'],
  ['pbkdf2:sha256:1$salt$0a0f6bb3c9a0bd87de59903ca7a4c55652e9ba92', 'too weak'],
  ['scrypt:1073741824:8:1$salt$0a0f6bb3c9a0bd87de59903ca7a4c55652e9ba92', 'costs more'],
  ['$scrypt$ln=31,r=8,p=1$e681ZsxZi9Eag9Dam7P23g$XLwnaBaBJYWgAczMAvY57eOGFCavRMw8TBe8NJQNpKA', 'costs more'],
  ['$argon2id$v=19$m=4194304,t=2,p=8$kxIiRGgthXCO0TrnnNN6Tw$iKg99Kh9usX3IlAxrdERdA', 'costs more'],
  ['$2b$31$iwe3eFjFTl.i/7.Mi8kP8O6lE2THRlmBSr6OPxdrfwTeEd1IlemtW', 'costs more'],
  ['', 'not a hash'],
  ['password', 'not a hash'],
  ['x'.repeat(600), 'longer than'],
])('PW-4: %s is refused: %s', (hash, why) => {
  expect(readForeignHash(hash)).toContain(why)
})

/** A directory with an empty database in it. */
async function makeDatabase(): Promise<string> {
  const cwd = temporaryDirectory()
  expect((await cli(['migrate'], { cwd })).code).toBe(0)
  return cwd
}

function open(cwd: string) {
  return createAuth({ storage: sqliteStorage({ path: join(cwd, '.trpc-login/login.db') }), log: silentLog })
}

const ROLES = { TRPC_LOGIN_ROLES: 'editor' }

test('imported users sign in with their old passwords, and have hashes of ours afterwards', async () => {
  const cwd = await makeDatabase()
  const lines = HASHES.map(([, hash], index) => JSON.stringify({ username: `user${index}`, password_hash: hash, roles: ['editor'] }))
  writeFileSync(join(cwd, 'users.ndjson'), lines.join('\n'))
  const dry = await cli(['user', 'import', 'users.ndjson', '--dry-run', '--json'], { cwd, env: ROLES })
  expect(JSON.parse(dry.stdout)).toMatchObject({ added: HASHES.length, dryRun: true })
  const { stdout } = await cli(['user', 'import', 'users.ndjson', '--json'], { cwd, env: ROLES })
  expect(JSON.parse(stdout)).toEqual({ added: HASHES.length, existing: 0, rejected: 0, dryRun: false, rejectsFile: null })
  const auth = open(cwd)
  for (const [index, [, hash]] of HASHES.entries()) {
    const name = `user${index}`
    expect((await auth.users.findByUsername(name))?.passwordHash).toBe(hash)
    await expect(auth.users.authenticate(name, 'not the password', null)).rejects.toThrow(AuthError)
    await auth.users.authenticate(name, PASSWORD, null)
    expect((await auth.users.findByUsername(name))?.passwordHash).toMatch(/^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$/)
    await auth.users.authenticate(name, PASSWORD, null)
  }
  await auth.close()
})

/** Written by Python's csv module with hashes of Werkzeug 2.2, of the password above. */
const FLASK_CSV = [
  'username,email,email_verified,name,password_hash',
  'flask0,flask0@example.com,true,"A ""quoted"", name",pbkdf2:sha256:2000$0S1xwhG5pPg8f3Kv$95f25a6b1f7bc72eecb1c183a84d8bba18406672f641b88302dc6135d37af2c0',
  'flask1,flask1@example.com,true,"A ""quoted"", name",pbkdf2:sha512:2000$CjkUAJynOe6PhU2j$46c82964387cb38dc1614918fedb541de7cb7d27fe70a1a7869f97c6fa1cefdb9076e48cb965ddf5926a1107ad730ffc6444fcccb9742417308d70cb6c0abd9b',
  'flask2,flask2@example.com,true,"A ""quoted"", name",pbkdf2:sha256:260000$kL91KesQepPERRbV$81ebe960af716ee9c5e881913c7b3fbf6768fc8f13fc63da5bb71aaa101eb76f',
  '',
].join('\r\n')

test('the users of a Flask application come over with the hashes that its Werkzeug made', async () => {
  const cwd = await makeDatabase()
  writeFileSync(join(cwd, 'flask.csv'), FLASK_CSV)
  expect((await cli(['user', 'import', 'flask.csv'], { cwd, env: ROLES })).stdout).toBe('added 3, already there 0, rejected 0\n')
  const auth = open(cwd)
  for (const n of [0, 1, 2]) {
    const user = await auth.users.authenticate(`flask${n}@example.com`, PASSWORD, null)
    expect([user.username, user.name]).toEqual([`flask${n}`, 'A "quoted", name'])
    expect((await auth.users.findByUsername(`flask${n}`))?.passwordHash).toMatch(/^\$argon2id\$/)
  }
  await auth.close()
})

test('what cannot be taken is listed with line and reason, and the rest is added', async () => {
  const cwd = await makeDatabase()
  const rows = [
    'username,email,roles,password_hash,disabled',
    'ada,ada@example.com,"editor, admin",,',
    'a b,,,,',
    'bob,nonsense,,,',
    'eve,,,5f4dcc3b5aa765d61d8327deb882cf99,',
    'ADA,,,,',
    'too,few',
    'mal,,Bad Role!,,',
    'zoe,,,,true',
  ]
  writeFileSync(join(cwd, 'users.csv'), `${rows.join('\r\n')}\r\n`)
  const { code, stdout } = await cli(['user', 'import', 'users.csv', '--json'], { cwd, env: ROLES })
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { added: 2, existing: 1, rejected: 5, rejectsFile: 'users.csv.rejects' }])
  const rejects = readFileSync(join(cwd, 'users.csv.rejects'), 'utf8').trim().split('\n')
  expect(rejects.map((line) => (JSON.parse(line) as { line: number }).line)).toEqual([3, 4, 5, 7, 8])
  const exported = (await cli(['user', 'export'], { cwd, env: ROLES })).stdout
  expect(
    exported
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { username: string }).username),
  ).toEqual(['zoe', 'ada'])
  expect(exported).not.toContain('password_hash')
  writeFileSync(join(cwd, '.htpasswd'), `# staff\nann:${HASHES.at(-1)?.[1]}\nold:$apr1$MkULKXZy$vFJUWignDhJCXGM1gB01j.\n`)
  expect((await cli(['user', 'import', '.htpasswd'], { cwd, env: ROLES })).stdout).toContain('added 1, already there 0, rejected 1\n')
  for (const args of [['users.txt'], ['users.csv', '--format', 'xml'], ['missing.csv']]) {
    expect((await cli(['user', 'import', ...args], { cwd, env: ROLES })).code).toBe(2)
  }
})

test('an import that was killed half-way and run again ends with exactly the right users', async () => {
  const cwd = await makeDatabase()
  const names = Array.from({ length: 20_000 }, (_, index) => `user${index}`)
  writeFileSync(join(cwd, 'users.ndjson'), names.map((username) => JSON.stringify({ username })).join('\n'))
  const first = start(CLI, ['user', 'import', 'users.ndjson'], { cwd })
  await new Promise<void>((resolve) => first.child.stderr?.on('data', (text: string) => /[1-9]\d* added/.test(text) && resolve()))
  first.child.kill('SIGKILL')
  await first.ended
  const { stdout } = await cli(['user', 'import', 'users.ndjson', '--json'], { cwd })
  const { added, existing } = JSON.parse(stdout) as { added: number; existing: number }
  expect(existing).toBeGreaterThan(0)
  expect(added).toBeGreaterThan(0)
  expect(added + existing).toBe(20_000)
  const exported = (await cli(['user', 'export'], { cwd })).stdout.trim().split('\n')
  expect(new Set(exported.map((line) => (JSON.parse(line) as { username: string }).username))).toEqual(new Set(names))
  expect(exported).toHaveLength(20_000)
})

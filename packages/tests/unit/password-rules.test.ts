import { expect, test } from 'vitest'
import { COMMON_PASSWORDS } from '../../server/src/common-passwords.ts'
import { requireStrongPassword } from '../../server/src/password-rules.ts'
import { passwordSchema } from '../../server/src/password-schema.ts'
import { createPasswords } from '../../server/src/passwords.ts'

const reasonOf = (job: Promise<unknown>) =>
  job.then(
    () => 'done',
    (error: { reason: string }) => error.reason,
  )

const OWNER = { username: 'ada.lovelace', email: 'countess@example.com' }
const check =
  (password: string, minLength = 8) =>
  () =>
    requireStrongPassword(password, { minLength, contextWords: ['Initech'] }, OWNER)

test('PW-5: the list holds more than 3,000 common passwords of 8 characters and more, and every one is refused', () => {
  const common = COMMON_PASSWORDS.trim().split(/\s+/)
  expect(common.length).toBeGreaterThan(10_000)
  expect(new Set(common).size).toBe(common.length)
  for (const password of common) expect(check(password), password).toThrow()
})

test.each([
  'Password12345678',
  'passwordpassword',
  'PASSWORDpassword',
  '1234567890123456',
  '9876543210987654',
  'qwertyuiopasdfghjkl',
  'abcdefghijklmnopqrs',
  'qwertyuiop12345678',
  'iloveyou12345678',
  'aaaaaaaaaaaaaaaaaaaa',
  'abcabcabcabcabcabc',
  'ada.lovelace12345',
  'countesscountess',
  'initech12345678',
  'trpc-login123456',
  'sunshineprincess',
])('PW-5: %s is refused at any length, and the message says why', (password) => {
  expect(check(password)).toThrow(/^Use|^This is among/)
})

test.each([
  'correct horse battery',
  'sunshine princess football',
  'möwe über der brandung',
  '🐎🔋📎 and a bit more',
  'hkP3v9xQ2mZr8wYt',
  'a'.repeat(3) + ' lonely walk home',
  'x1y2z3 '.repeat(9) + 'end',
  '    leading and trailing    ',
])('PW-3: %j is accepted', (password) => {
  expect(check(password)).not.toThrow()
})

test('PW-1: length counts code points, and 15 of them are asked for by default', () => {
  expect(check('🐎🔋📎🐎🔋📎x', 8)).toThrow('Use at least 8 characters; this one has 7')
  expect(check('fourteen chars', 15)).toThrow('Use at least 15 characters; this one has 14')
})

test('IN-8: the longest passwords are judged too', () => {
  for (const password of ['abcd'.repeat(64), '1qaz2wsx'.repeat(32), 'password'.repeat(32)]) {
    expect(check(password)).toThrow(/^Use|^This is among/)
  }
  expect(check(Array.from({ length: 64 }, (_, index) => `w${index}`).join(' '))).not.toThrow()
})

test('PW-2: a password is as long as its canonical form, so what grows counts as what it grows to', () => {
  const [fits, grows] = [51, 52].map((count) => passwordSchema.safeParse('\u{1d15f}\u{1d160}'.repeat(count)).success)
  expect([fits, grows]).toEqual([true, false])
  const decomposed = 'é'.normalize('NFD')
  expect(passwordSchema.safeParse(decomposed.repeat(256)).success).toBe(true)
  expect(passwordSchema.safeParse(decomposed.repeat(257)).success).toBe(false)
})

test('SH-2: a new password is judged in a turn of the hash queue, so a flood of them costs what a flood of hashes does', async () => {
  const rules = { minLength: 15, contextWords: [] }
  const passwords = createPasswords({ memoryKiB: 19_456, iterations: 2, parallelism: 1, atOnce: 1, ...rules })
  const queued = Array.from({ length: 65 }, () => reasonOf(passwords.hashNew('too short', OWNER)))
  expect(await reasonOf(passwords.hashNew('too short', OWNER))).toBe('overloaded')
  expect(new Set(await Promise.all(queued))).toEqual(new Set(['weak_password']))
})

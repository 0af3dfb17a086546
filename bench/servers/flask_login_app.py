# Flask-Login with its users in SQLite and its session in a signed cookie, as it comes.
import os
import sqlite3

from flask import Flask, g, jsonify
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user

app = Flask(__name__)
app.secret_key = "a secret of at least thirty-two characters"
login_manager = LoginManager(app)
path = os.path.join(os.environ["DIR"], "flask.db")
with sqlite3.connect(path) as db:
    db.execute("pragma journal_mode = wal")
    db.execute("create table if not exists users (id text primary key, username text)")
    db.execute("insert or ignore into users values ('1', 'user01')")


class User(UserMixin):
    def __init__(self, id, username):
        self.id = id
        self.username = username


def database():
    if "db" not in g:
        g.db = sqlite3.connect(path)
    return g.db


@app.teardown_appcontext
def close(_error):
    db = g.pop("db", None)
    if db is not None:
        db.close()


@login_manager.user_loader
def load_user(id):
    row = database().execute("select id, username from users where id = ?", (id,)).fetchone()
    return None if row is None else User(*row)


@app.post("/login")
def login():
    login_user(load_user("1"))
    return jsonify(ok=True)


@app.get("/mine")
@login_required
def mine():
    return jsonify(result={"data": f"hello, {current_user.username}"})

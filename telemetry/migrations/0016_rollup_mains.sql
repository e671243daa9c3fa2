-- The mains voltage of a quarter hour and of an hour: its quality is judged from it.
ALTER TABLE rollup ADD COLUMN grid_v real;
ALTER TABLE rollup_hour ADD COLUMN grid_v real;
